"""A matcher with shortcuts, for the tests of what it does with the calls of cases."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document, Miss
from kebpf.recording.model import Endpoint, Mock
from kebpf.replay.answers import DestinationAnswers
from kebpf.replay.binding import Bindings
from kebpf.replay.caches import route_of
from kebpf.replay.events import CallFinding, MissKind
from kebpf.replay.matcher import Matcher

from .builders import DATABASE, REPLAYED_NS, SECOND, MemorySet, get_plain_spec, make_case


class Run:
    """A matcher with shortcuts."""

    def __init__(self, *mocks: Mock, cases: tuple[str, ...] = ("a", "b")) -> None:
        self.cases = {name: make_case(name) for name in cases}
        self.set = MemorySet(self.cases.values(), mocks)
        routes = {name: route_of(case) for name, case in self.cases.items()}
        self.matcher = Matcher(self.set, Bindings(), get_plain_spec, routes=routes)
        self._connections: dict[Endpoint, DestinationAnswers] = {}

    def begin(self, name: str = "a") -> None:
        self.matcher.begin_case(self.cases[name], REPLAYED_NS)

    def call(self, sql: str, *args: Any, at: Endpoint = DATABASE) -> Document | Miss:
        return self._connect(at).answer({"sql": sql, "args": list(args)})

    def session(self, **request: Any) -> Document | None:
        return self._connect(DATABASE).session(request)

    def _connect(self, at: Endpoint) -> DestinationAnswers:
        """All calls to one place go over one connection."""
        if at not in self._connections:
            self._connections[at] = self.matcher.for_destination(at, "plain")
        return self._connections[at]

    def end(self) -> list[CallFinding]:
        return self.matcher.end_case(REPLAYED_NS + SECOND)


def rows(answer: Document | Miss) -> Any:
    assert isinstance(answer, dict), answer
    return answer["rows"]


def reason(answer: Document | Miss) -> str:
    assert isinstance(answer, Miss), answer
    assert "\n" not in answer.reason
    return answer.reason


def kinds(findings: list[CallFinding]) -> list[tuple[str, MissKind | None]]:
    return [(finding.kind, finding.miss) for finding in findings]
