"""What becomes of mocks when some of the cases they were recorded with are not in the set."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import BinaryIO

from kebpf.recording.mockfile import pack_mock, read_mock
from kebpf.recording.model import Mock, Tier


def settle_mock(mock: Mock, cases: Container[str]) -> Mock | None:
    """A mock as it is in a set of these cases: the same object if it stays, ``None`` if it goes.

    As with requests that were left out: what only such can have made goes with them; what one
    of them may have made is asserted of no other.  Sessions are no case's own.
    """
    if mock.tier is Tier.SESSION:
        is_known = mock.case is None or mock.case in cases
        return mock if is_known else replace(mock, case=None)
    if mock.case is not None:
        return mock if mock.case in cases else None
    kept = [name for name in mock.candidates if name in cases]
    if len(kept) == len(mock.candidates):
        return mock
    if not kept:
        return None
    tier = Tier.BACKGROUND if mock.tier is Tier.CASE else mock.tier
    return replace(mock, tier=tier, candidates=kept)


def iter_settled(
    source: BinaryIO, start: int, end: int, cases: Container[str]
) -> Iterator[tuple[bytes, bool]]:
    """The records from ``start`` to before ``end`` as they are to be, and whether that is new.

    An empty record is a mock that goes.  Raises `kebpf.recording.mockfile.MockFileError`.
    """
    offset = source.seek(start)
    while offset < end:
        mock = read_mock(source)
        if mock is None:
            return
        following = source.tell()
        settled = settle_mock(mock, cases)
        if settled is mock:
            source.seek(offset)
            yield source.read(following - offset), False
        else:
            yield (b"" if settled is None else pack_mock(settled)), True
        offset = following
