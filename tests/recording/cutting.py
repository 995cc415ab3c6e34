"""Recordings that are cut off: a set of many cases, and what of it was complete at what moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kebpf.recording.journal import JOURNAL_NAME
from kebpf.recording.model import Mock, TestCase, Tier
from kebpf.recording.writer import MOCKS_NAME, TestSetWriter
from tests.recording.builders import make_case, make_manifest, make_mock


def case_name(number: int) -> str:
    return f"get-item-{number:04}"


def mocks_of(number: int) -> list[Mock]:
    """Two calls of a case, one that it or its predecessor made, one of the background."""
    own, both, back = case_name(number), number * 10 + 3, number * 10 + 4
    open_to = [case_name(number - 1), own] if number else [own]
    return [
        make_mock(f"mock-{number * 10 + 1:06}", case=own, request={"sql": f"SELECT {number}"}),
        make_mock(f"mock-{number * 10 + 2:06}", case=own, response={"rows": [["x" * number]]}),
        make_mock(f"mock-{both:06}", case=None, candidates=open_to),
        make_mock(f"mock-{back:06}", case=None, tier=Tier.BACKGROUND),
    ]


def case_of(number: int) -> TestCase:
    calls = [mock.name for mock in mocks_of(number)[:2]]
    return make_case(case_name(number), order=number + 1, calls=calls)


def add_one(writer: TestSetWriter, number: int) -> None:
    """A case with all that belongs to it."""
    for mock in mocks_of(number):
        writer.add_mock(mock)
    writer.add_case(case_of(number))


@dataclass(frozen=True, slots=True)
class Moment:
    """How large the files were just after a case was complete."""

    case: TestCase
    journal: int
    mocks: int


def write_unfinished(parent: Path, cases: int) -> tuple[Path, list[Moment]]:
    """A recording that nobody finishes, and its moments; it is nobody's any more."""
    writer = TestSetWriter(parent / "set", durable=True)
    (folder,) = parent.iterdir()
    writer.mark(make_manifest())
    moments = []
    for number in range(cases):
        add_one(writer, number)
        sizes = [(folder / name).stat().st_size for name in (JOURNAL_NAME, MOCKS_NAME)]
        moments.append(Moment(case_of(number), *sizes))
    writer.mark(make_manifest())
    writer.leave()
    return folder, moments
