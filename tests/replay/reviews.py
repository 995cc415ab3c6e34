"""Runs without processes for the tests of reviewing: a recorded set, what came, what was told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.amendment import AmendedSet
from kebpf.recording.casefile import fingerprint_case
from kebpf.recording.model import Manifest, Mock, TestCase
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.comparison import compare
from kebpf.replay.events import CallFinding, CaseFinished, Exact, Mismatch, Revision, Verdict
from kebpf.replay.review import Item, Review
from kebpf.report.jsonl import event_to_json
from tests.recording.builders import make_manifest
from tests.replay.sets import PROTOCOLS, WHEN, make_case

LATER_NS = 86_400 * 10**9  # a run is a day after the recording, and another day after the last


def make_http(body: bytes, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A response as bytes."""
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Other'}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def make_json(tree: Any, status: int = 200, **headers: str) -> bytes:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    pairs.append(("Content-Type", "application/json"))
    return make_http(json.dumps(tree).encode(), status, pairs)


def read_response(data: bytes) -> Document:
    return make_case("x", b"GET / HTTP/1.1\r\nHost: app\r\n\r\n", data).response


@dataclass
class MemorySet:
    """A test set that was never written."""

    recorded: list[TestCase]
    mocks: list[Mock] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        return replace(make_manifest(), test_cases=len(self.recorded), mocks=len(self.mocks))

    def cases(self) -> list[TestCase]:
        return self.recorded

    def apart(self) -> list[TestCase]:
        return []

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        yield from enumerate(self.mocks)

    def mock_at(self, offset: int) -> Mock:
        return self.mocks[offset]


def record(name: str, response: bytes, request: str = "/", **fields: Any) -> TestCase:
    head = f"GET {request} HTTP/1.1\r\nHost: app\r\n\r\n".encode()
    return make_case(name, head, response, **fields)


def play(
    case: TestCase, came: bytes, days: int = 1, bindings: Bindings | None = None
) -> CaseFinished:
    """A case as a run ``days`` after the recording tells it; calls are not a part of it."""
    bindings = bindings if bindings is not None else Bindings()
    start_ns = WHEN.start_ns + days * LATER_NS
    window = Window(start_ns, start_ns + 100_000_000)
    response = read_response(came)
    view = PROTOCOLS[case.protocol].view
    mismatches, _ = compare(case, view(case.response), view(response), bindings, window)
    shift_ns = bindings.shift_ns if bindings.shift_ns is not None else days * LATER_NS
    told = Exact(bindings.to_recorded(response)) if mismatches else None
    return CaseFinished(
        "set",
        case.name,
        "GET /",
        Verdict.FAILED if mismatches else Verdict.PASSED,
        0.01,
        mismatches,
        revision=Revision(told, window.start_ns, window.end_ns, shift_ns),
        recorded=fingerprint_case(case),
    )


def make_review(
    test_set: MemorySet, *runs: CaseFinished, findings: Sequence[CallFinding] = ()
) -> Review:
    """Through JSON and back, as by a run file."""
    entries = json.loads(json.dumps([event_to_json(run) for run in runs]))
    document = CaseFinished("set", "", "", Verdict.FAILED, 0.0, calls=list(findings))
    outside = json.loads(json.dumps(event_to_json(document)))["calls"]
    return Review(test_set, entries, outside, PROTOCOLS.__getitem__)


def accept_all(test_set: MemorySet, *runs: CaseFinished) -> AmendedSet:
    review = make_review(test_set, *runs)
    accepted: list[Item] = []
    for item in review.items:
        review.check(item, accepted)
        accepted.append(item)
    return review.amend(accepted)


def find_differences(case: TestCase, came: bytes, days: int = 2) -> list[Mismatch]:
    """What another run finds."""
    return play(case, came, days).mismatches
