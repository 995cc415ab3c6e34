"""A protocol whose documents are their own views, and a writer that keeps what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.builder import OpenRequest, RecordingBuilder
from kebpf.recording.casefile import read_case
from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Manifest, Mock, RecordedExchange, Role, TestCase
from kebpf.recording.writer import TestSetWriter


class PlainProtocol:
    """Identity, view and description of documents as they stand."""

    name = "plain"

    def identity(self, request: Document) -> Document:
        return {"operation": request.get("sql", request.get("target", "")), **request}

    def view(self, message: Document) -> Any:
        return message

    def describe(self, request: Document) -> str:
        return str(request.get("sql", request.get("target", "")))


PLAIN = cast(ProtocolSpec, PlainProtocol())


def find_plain(name: str) -> ProtocolSpec:
    return PLAIN


class MemoryWriter(TestSetWriter):
    """Keeps cases and mocks instead of writing them."""

    def __init__(self) -> None:
        self.cases: list[TestCase] = []
        self.mocks: list[Mock] = []
        self.mock_count = self.case_count = 0
        self.manifest: Manifest | None = None

    def add_mock(self, mock: Mock) -> None:
        pack_mock(mock)
        self.mocks.append(mock)

    def add_written(self, name: str, text: str) -> None:
        self.cases.append(read_case(text))

    def has_case(self, name: str) -> bool:
        return any(case.name == name for case in self.cases)

    def commit(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def case_of(self, target: str) -> TestCase:
        return next(case for case in self.cases if case.request["target"] == target)

    def mock_of(self, sql: str) -> Mock:
        return next(mock for mock in self.mocks if mock.request["sql"] == sql)

    def target_of(self, sql: str) -> str | None:
        """The target of the request a call was given to."""
        name = self.mock_of(sql).case
        return next((case.request["target"] for case in self.cases if case.name == name), None)


def make_builder(writer: TestSetWriter, **options: Any) -> RecordingBuilder:
    values = {"grace_ns": 20, "learning_ns": 0} | options
    return RecordingBuilder(writer, "set", find_protocol=find_plain, **values)


def record(
    exchanges: list[RecordedExchange],
    step: bool = True,
    links: Mapping[int, int] = {},
    pid: int = 100,
    **options: Any,
) -> tuple[MemoryWriter, RecordingBuilder]:
    """Gives exchanges to a builder as a capture would: as they complete, advancing in between.

    ``links`` are asyncio tasks of the process ``pid``, and who made them.
    """
    writer = MemoryWriter()
    builder = make_builder(writer, **options)
    for task, parent in links.items():
        builder.link_tasks(pid, task, parent)
    todo = sorted(exchanges, key=end_of)
    for index, recorded in enumerate(todo):
        builder.add(recorded)
        if step:
            now = end_of(todo[index + 1]) if index + 1 < len(todo) else end_of(recorded)
            builder.advance(now, open_at(todo[index + 1 :], now))
    builder.finish()
    return writer, builder


def end_of(recorded: RecordedExchange) -> int:
    mark = recorded.exchange.response_end
    assert mark is not None
    return mark.time_ns


def open_at(later: list[RecordedExchange], now: int) -> list[OpenRequest]:
    return [
        OpenRequest(one.exchange.request_start.time_ns, one.connection)
        for one in later
        if one.role is Role.SERVER and one.exchange.request_start.time_ns <= now
    ]
