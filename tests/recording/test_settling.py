"""What becomes of mocks when cases are missing."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Mock, Tier
from kebpf.recording.settling import iter_settled, settle_mock
from tests.recording.builders import make_mock

OWN = make_mock("mock-1", case="a")
OPEN = make_mock("mock-2", case=None, candidates=["a", "b"])
DOUBTFUL = make_mock("mock-3", case=None, candidates=["a"], tier=Tier.STARTUP)
SESSION = make_mock("mock-4", case="a", tier=Tier.SESSION)
NOBODYS = make_mock("mock-5", case=None, tier=Tier.BACKGROUND)


@pytest.mark.parametrize(
    ("mock", "cases", "expected"),
    [
        (OWN, "a", OWN),
        (OWN, "b", None),
        (OPEN, "ab", OPEN),
        (OPEN, "b", replace(OPEN, candidates=["b"], tier=Tier.BACKGROUND)),
        (OPEN, "", None),
        (DOUBTFUL, "a", DOUBTFUL),
        (DOUBTFUL, "b", None),
        (SESSION, "a", SESSION),
        (SESSION, "", replace(SESSION, case=None)),
        (NOBODYS, "", NOBODYS),
    ],
)
def test_what_is_left_of_a_mock(mock: Mock, cases: str, expected: Mock | None) -> None:
    assert settle_mock(mock, set(cases)) == expected


def test_records_that_stay_are_the_very_bytes() -> None:
    records = [pack_mock(mock) for mock in (OWN, OPEN, SESSION)]
    data = b"".join(records)
    start, end = len(records[0]), len(data)
    assert list(iter_settled(io.BytesIO(data), start, end, {"a", "b"})) == [
        (records[1], False),
        (records[2], False),
    ]
    assert list(iter_settled(io.BytesIO(data), 0, start, set())) == [(b"", True)]
