"""Between the builder and the writer: of the cases that are made only the unique ones stay.

What goes is taken off the disk at once, its mocks when they have become half of the file.  A case
that is likely to go soon, as it is not the first of its shape, is held and not written at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kebpf.recording.casefile import write_share
from kebpf.recording.dedup.mocks import MOST_PENDING, MockKeeper
from kebpf.recording.dedup.stream import Arrival, Stream
from kebpf.recording.dedup.ties import Ties
from kebpf.recording.dedup.traits import Called, GetSpec, find_traits, tells_apart
from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Mock, TestCase
from kebpf.recording.writer import TestSetWriter

LEAST_REWRITE = 8 << 20  # bytes of mocks that are needed no more
MOST_DROPS = 20_000  # before a name may be given again, the mocks of who had it are gone


@dataclass(slots=True)
class _Sizes:
    """Of the mocks of cases, in bytes and in number."""

    size: int = 0
    count: int = 0


class UniqueCases:
    """Writes what is kept.  Raises as the writer does."""

    def __init__(
        self,
        writer: TestSetWriter,
        get_spec: GetSpec,
        least_rewrite: int = LEAST_REWRITE,
        stream: Stream | None = None,
    ) -> None:
        self._writer = writer
        self._get_spec = get_spec
        self._least_rewrite = least_rewrite
        self._stream = Stream() if stream is None else stream
        self._ties = Ties(get_spec)
        self._keeper = MockKeeper(get_spec)
        self._mocks: dict[str, _Sizes] = {}  # by case
        self._calls: dict[str, list[Called]] = {}  # of cases that are to come
        self._held: dict[str, str] = {}  # files that are not written yet
        self._size = 0  # of the file of mocks
        self._dead = _Sizes()
        self._drops = 0  # since the file was written anew

    @property
    def shapes(self) -> int:
        """How many there are so far."""
        return self._stream.shapes

    @property
    def seen(self) -> int:
        """How many requests they stand for."""
        return self._stream.seen

    @property
    def test_cases(self) -> int:
        """How many are kept at the moment; not those that are held only to see if they repeat."""
        return len(self._stream) - len(self._held)

    @property
    def mocks(self) -> int:
        """How many are kept at the moment, about."""
        return self._writer.mock_count - self._dead.count

    def holds(self, name: str) -> bool:
        """Whether a case that was added is still kept."""
        return self._keeper.has_case(name)

    def add_mock(self, mock: Mock) -> None:
        """A mock was made, before the case it belongs to."""
        if not self._keeper.add_mock(mock):
            return
        if mock.case is not None and tells_apart(mock):
            self._calls.setdefault(mock.case, []).append(Called.of_mock(mock))
            if len(self._calls) > MOST_PENDING:
                del self._calls[next(iter(self._calls))]
        record = pack_mock(mock)
        self._writer.add_packed(record)
        self._size += len(record)
        if mock.case is not None:
            sizes = self._mocks.setdefault(mock.case, _Sizes())
            sizes.size += len(record)
            sizes.count += 1

    def add_case(self, case: TestCase, text: str) -> None:
        """A case was made, all of whose mocks were; ``text`` is its file."""
        calls = self._calls.pop(case.name, [])
        traits = find_traits(case, calls, self._get_spec)
        needs = self._ties.find(case.order, case, calls, traits)
        duration_ns = case.timing.end_ns - case.timing.start_ns
        self._held[case.name] = text
        self._keeper.add_case(case.name)
        self._drop(self._stream.take(Arrival(case.name, case.order, traits, duration_ns, needs)))
        self._write([*self._stream.take_settled(), *([case.name] if self._stream.is_news else [])])
        is_half_dead = self._dead.size > max(self._least_rewrite, self._size // 2)
        if is_half_dead or self._drops > MOST_DROPS:
            self._rewrite()

    def finish(self) -> dict[str, Any]:
        """Nothing more will come; what the manifest says of it."""
        self._drop(self._stream.finish())
        self._write(list(self._held))
        for name, seen, shape in self._stream.list_kept():
            self._writer.extend_case(name, write_share(seen, shape))
        self._keeper.end()
        self._rewrite()
        facts = {"requests": self._stream.seen, "shapes": self._stream.shapes}
        if self._stream.beyond:
            facts["beyond"] = self._stream.beyond
        return facts

    def _write(self, names: Sequence[str]) -> None:
        for name in names:
            text = self._held.pop(name, None)
            if text is not None:
                self._writer.add_written(name, text)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self._drops += 1
            if self._held.pop(name, None) is None:
                self._writer.drop_case(name)
            self._keeper.drop_case(name)
            sizes = self._mocks.pop(name, None)
            if sizes is not None:
                self._dead.size += sizes.size
                self._dead.count += sizes.count

    def _rewrite(self) -> None:
        self._size = self._writer.rewrite_mocks(self._keeper.revise)
        self._dead = _Sizes()
        self._drops = 0
