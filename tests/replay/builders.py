"""Builds cases, mocks and a test set in memory, over a protocol made of plain documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Endpoint, Evidence, Mock, TestCase, Tier, Timing
from kebpf.recording.peeking import ResponseFinder

DATABASE = Endpoint("tcp", "10.0.0.5", 5432)
CACHE = Endpoint("tcp", "10.0.0.6", 6379)

SECOND = 1_000_000_000
RECORDED_NS = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z
REPLAYED_NS = 1_760_000_000 * SECOND  # 2025-10-09T08:53:20Z


class PlainSpec:
    """Requests are documents with ``sql`` and ``args``; ``form`` is no part of the identity."""

    name = "plain"

    def identity(self, request: Document) -> Document:
        identity = {"operation": request["sql"], "args": request.get("args", [])}
        if "database" in request:
            identity["database"] = request["database"]
        return identity

    def describe(self, request: Document) -> str:
        return f"{request['sql']} {request.get('args', [])}"


def get_plain_spec(_name: str) -> ProtocolSpec:
    return cast(ProtocolSpec, PlainSpec())


class MemorySet:
    """A test set; ``reads`` counts how often a mock was read back."""

    def __init__(self, cases: Iterable[TestCase], mocks: Iterable[Mock]) -> None:
        self._cases, self._mocks = list(cases), list(mocks)
        self.reads = 0

    def cases(self) -> list[TestCase]:
        return self._cases

    def apart(self) -> list[TestCase]:
        return []

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        return ((index * 10, mock) for index, mock in enumerate(self._mocks))

    def mock_at(self, offset: int) -> Mock:
        self.reads += 1
        return self._mocks[offset // 10]


class PackedSet(MemorySet):
    """The same as on a disk: ``found`` counts the responses told by the bytes of a request."""

    def __init__(self, cases: Iterable[TestCase], mocks: Iterable[Mock]) -> None:
        super().__init__(cases, mocks)
        self.found = 0
        self._records = [pack_mock(mock) for mock in self._mocks]
        self._responses = ResponseFinder()

    def find_response(self, offset: int, packed: bytes) -> Document | None:
        record = self._records[offset // 10]
        response = self._responses.find(record, len(record), packed)
        self.found += response is not None
        return response


def make_mock(
    sql: str, *args: Any, answer: Any = None, case: str | None = None, **changes: Any
) -> Mock:
    tier = Tier.CASE if case or changes.get("candidates") else Tier.STARTUP
    values: dict[str, Any] = {
        "name": f"mock {sql} {args} {case}",
        "protocol": "plain",
        "destination": DATABASE,
        "request": {"sql": sql, "args": list(args)},
        "response": {"rows": answer if answer is not None else []},
        "timing": Timing(RECORDED_NS, RECORDED_NS + 1000),
        "tier": tier,
        "connection": 1,
        "case": case,
        "evidence": Evidence.THREAD,
    }
    return Mock(**(values | changes))


def make_case(name: str = "a", **changes: Any) -> TestCase:
    values: dict[str, Any] = {
        "name": name,
        "protocol": "plain",
        "request": {},
        "response": {},
        "endpoint": Endpoint("tcp", "0.0.0.0", 8080),
        "timing": Timing(RECORDED_NS, RECORDED_NS + SECOND // 10),
        "order": 1,
    }
    return TestCase(**(values | changes))
