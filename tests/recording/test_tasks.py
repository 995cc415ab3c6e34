"""Attribution by asyncio task, in scenarios on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import Evidence, RecordedExchange, Role
from tests.recording.builders import make_exchange, make_request
from tests.recording.doubles import MemoryWriter
from tests.recording.doubles import record as record_both

# Tasks are known by when they were made, so here they are times as well.
PID = 100


def serve(target: str, start: int, end: int, task: int, **options: Any) -> RecordedExchange:
    """A request answered by a task."""
    recorded = make_exchange(start, end, request=make_request(target), pid=PID, **options)
    recorded.exchange.response_start = Mark(end, 1, 0, task)
    return recorded


def call(sql: str, start: int, task: int, **options: Any) -> RecordedExchange:
    """A call that a task made; each on a connection of its own."""
    request = {"sql": sql, "args": []}
    values: dict[str, Any] = {
        "protocol": "postgres",
        "connection": 50 + start,
        "role": Role.CLIENT,
        "pid": PID,
    } | options
    recorded = make_exchange(start, start + 1, request=request, response={"rows": []}, **values)
    recorded.exchange.request_start = Mark(start, 1, 0, task)
    return recorded


def record(exchanges: list[RecordedExchange], links: Mapping[int, int] = {}) -> MemoryWriter:
    return record_both(exchanges, links=links)[0]


def found(writer: MemoryWriter, sql: str) -> tuple[str | None, Evidence]:
    return writer.target_of(sql), writer.mock_of(sql).evidence


A, B = 11, 13  # tasks of the requests below
BOTH = [serve("/a", 10, 50, A), serve("/b", 12, 48, B, connection=2)]


def test_a_call_belongs_to_the_request_that_its_task_answered() -> None:
    writer = record([*BOTH, call("of a", 20, A), call("of b", 21, B), call("of none", 22, 0)])
    assert found(writer, "of a") == ("/a", Evidence.TASK)
    assert found(writer, "of b") == ("/b", Evidence.TASK)
    assert found(writer, "of none") == (None, Evidence.NONE)


@pytest.mark.parametrize("answering", [A, 21, 30])
def test_tasks_made_for_a_request_are_its_own(answering: int) -> None:
    """Whichever of them answers: middleware, the handler below it, a stream below that."""
    exchanges = [serve("/a", 10, 50, answering), BOTH[1]]
    calls = [call(f"in {task}", 31 + number, task) for number, task in enumerate((A, 21, 30, 31))]
    writer = record([*exchanges, *calls], {21: A, 30: 21, 31: 21})
    for each in calls:
        assert found(writer, each.exchange.request["sql"]) == ("/a", Evidence.TASK)


def test_a_task_per_connection_serves_one_request_after_the_other() -> None:
    writer = record(
        [
            serve("/first", 10, 20, 5),
            serve("/second", 30, 40, 5),
            serve("/other", 8, 60, 6, connection=2),
            call("one", 15, 5),
            call("two", 35, 5),
            call("child", 36, 33),
        ],
        {33: 5},
    )
    assert found(writer, "one") == ("/first", Evidence.TASK)
    assert found(writer, "two") == ("/second", Evidence.TASK)
    assert found(writer, "child") == ("/second", Evidence.TASK)


def test_a_task_older_than_a_request_does_not_work_for_it_unless_it_answers() -> None:
    """A worker that a connection's task made for an earlier request takes in others' work."""
    writer = record(
        [
            serve("/first", 10, 20, 5),
            serve("/second", 30, 40, 5),
            serve("/other", 8, 60, 6, connection=2),
            call("worker's", 35, 12),
        ],
        {12: 5},
    )
    assert writer.mock_of("worker's").evidence is Evidence.NONE


def test_what_a_task_does_behind_its_response_is_its_own_requests() -> None:
    writer = record(
        [
            serve("/a", 10, 20, A),
            serve("/b", 12, 60, B, connection=2),
            call("before", 15, A),
            call("behind", 30, A),
            call("of b", 31, B),
        ]
    )
    assert found(writer, "behind") == ("/a", Evidence.TASK)
    assert found(writer, "of b") == ("/b", Evidence.TASK)


def test_a_task_that_answers_several_at_once_tells_nothing() -> None:
    writer = record(
        [
            serve("/a", 10, 50, 5),
            serve("/b", 12, 48, 5, connection=2),
            call("of one of them", 20, 5),
        ]
    )
    assert found(writer, "of one of them") == (None, Evidence.NONE)


def test_a_task_of_another_process_is_another() -> None:
    writer = record([*BOTH, call("elsewhere", 20, A, pid=PID + 1)])
    assert writer.mock_of("elsewhere").evidence is not Evidence.TASK


def test_a_task_that_nothing_is_known_of_leaves_it_to_other_evidence() -> None:
    writer = record([serve("/a", 10, 50, 0), call("alone", 20, 15)])
    assert found(writer, "alone") == ("/a", Evidence.THREAD)


def test_calls_that_tasks_tell_teach_what_a_checkout_is() -> None:
    """Handovers of a connection at a reset: then what lies between two is one request's."""
    exchanges: list[RecordedExchange] = []
    for number in range(5):
        start = 1000 * (number + 1)
        exchanges += [
            serve(f"/a{number}", start, start + 90, start + 1),
            serve(f"/b{number}", start + 2, start + 95, start + 3, connection=2),
        ]
        for task, at in ((start + 1, start + 10), (start + 3, start + 40)):
            exchanges += [
                call(f"q{at}", at, task, connection=50),
                call("RESET ALL", at + 2, task, connection=50, is_session=True),
            ]
    last = 9000
    exchanges += [
        serve("/x", last, last + 90, last + 1),
        serve("/y", last + 2, last + 95, last + 3, connection=2),
        call("known", last + 10, last + 1, connection=50),
        call("unknown", last + 12, 0, connection=50),
    ]
    writer = record(exchanges)
    assert found(writer, "unknown") == ("/x", Evidence.CHECKOUT)


@pytest.mark.parametrize(
    ("protocol", "question", "answer"),
    [
        ("redis", b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        ("http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("postgres", b"Q\0\0\0\x0dSELECT 1\0", b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I"),
        ("opaque", b"ask", b"say"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_every_protocol_keeps_the_task(
    protocol: str, question: bytes, answer: bytes, size: int
) -> None:
    """However the bytes come; two questions in one piece are of one task."""
    pairer = get_protocol(protocol).make_pairer(joined=protocol == "postgres")
    exchanges: list[Exchange] = []
    for number in (1, 2):
        for sender, data, task in ((Sender.CLIENT, question, 70), (Sender.SERVER, answer, 90)):
            for at in range(0, len(data), size):
                mark = Mark(1000 * number + at, 1, at, task + number)
                exchanges += pairer.receive_data(sender, data[at : at + size], mark)
    exchanges += pairer.finish(Mark(9000))
    tasks = [
        (one.request_start.task, one.response_start.task)
        for one in exchanges
        if one.response_start is not None
    ]
    assert tasks == [(71, 91), (72, 92)]


def test_a_call_says_by_which_tasks_of_its_request_it_was_made() -> None:
    links = {A: 5, 20: A, 22: 20}
    calls = [call("own", 19, A), call("below", 21, 20), call("deep", 23, 22), call("none", 24, 0)]
    writer = record([*BOTH, *calls], links)
    lines = {sql: writer.mock_of(sql).tasks for sql in ("own", "below", "deep", "none")}
    assert lines == {"own": [A], "below": [A, 20], "deep": [A, 20, 22], "none": []}
