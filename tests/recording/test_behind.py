"""Calls made after the response: whose they are, in scenarios on a true scale of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kebpf.recording.behind import LATE_NS
from kebpf.recording.builder import GRACE_NS
from kebpf.recording.model import Evidence, RecordedExchange, Tier
from tests.recording.doubles import MemoryWriter, make_builder
from tests.recording.test_attribution import call as make_call
from tests.recording.test_attribution import found
from tests.recording.test_attribution import serve as make_serve

MS = 1_000_000
LOOP, FIRST, SECOND = 100, 11, 12  # threads; the process is 100


def serve(target: str, start: float, end: float, tid: int = FIRST, **options: Any) -> Any:
    return make_serve(target, int(start * MS), int(end * MS), tid=tid, **options)


def call(sql: str, start: float, tid: int = FIRST, **options: Any) -> Any:
    return make_call(sql, int(start * MS), int((start + 1) * MS), tid=tid, **options)


def record(
    exchanges: list[RecordedExchange], threads: Sequence[tuple[int, int, float]] = ()
) -> MemoryWriter:
    """Threads are told with their makers (0: they ended) and the time."""
    writer = MemoryWriter()
    builder = make_builder(writer, grace_ns=GRACE_NS, learning_ns=2 * GRACE_NS)
    for tid, maker, at in threads:
        builder.note_thread(tid, maker, int(at * MS))
    for exchange in exchanges:
        builder.add(exchange)
    builder.finish()
    return writer


def test_what_a_thread_does_before_its_next_request_is_for_its_last() -> None:
    writer = record(
        [
            serve("/a", 10, 20),
            serve("/b", 15, 200, tid=SECOND, connection=2),
            call("A", 21),
            serve("/c", 30, 40),
            call("C", 35),
        ]
    )
    assert found(writer, "A") == ("/a", Evidence.THREAD)
    assert found(writer, "C") == ("/c", Evidence.THREAD)


def test_a_request_that_the_end_cut_off_keeps_its_last_call() -> None:
    """It is told before that call is, which has nothing to do with the request before it."""
    cut = serve("/b", 30, 32, problem="the recording ended before the response was complete")
    cut.exchange.response_start = cut.exchange.response_end = None
    unanswered = call("COMMIT", 40, problem="the recording ended before its response")
    unanswered.exchange.response_start = unanswered.exchange.response_end = None
    writer = record([serve("/a", 10, 20), call("INSERT", 15), cut, unanswered])
    assert [case.request["target"] for case in writer.cases] == ["/a"]
    assert found(writer, "INSERT") == ("/a", Evidence.THREAD)


def test_not_much_later() -> None:
    late = 20 + LATE_NS / MS + 1
    writer = record([serve("/a", 10, 20), serve("/b", 900, 910, SECOND), call("A", late)])
    assert writer.mock_of("A").tier is Tier.BACKGROUND


def test_a_transaction_behind_a_response_is_one() -> None:
    at_all: dict[str, Any] = {"connection": 50, "transaction": 7}
    writer = record(
        [
            serve("/a", 10, 20),
            call("BEGIN", 21, is_session=True, **at_all),
            call("INSERT", 23, **at_all),
            call("COMMIT", 25, is_session=True, **at_all),
        ]
    )
    assert {writer.target_of(sql) for sql in ("INSERT", "COMMIT")} == {"/a"}


def polled(every: int, count: int, tid: int = LOOP) -> list[RecordedExchange]:
    """A request every 20 ms on one thread, each of another route, and a poll."""
    requests = [serve(f"/r{'x' * n}", 20 * n, 20 * n + 2, LOOP) for n in range(1, count)]
    polls = [call("poll", 20 * n + 5, tid, connection=60) for n in range(1, count, every)]
    return requests + polls


@pytest.mark.parametrize("tid", [LOOP, 77])
def test_a_poll_is_nobodys_wherever_it_falls(tid: int) -> None:
    writer = record(polled(7, 60, tid))
    assert {mock.tier for mock in writer.mocks} == {Tier.BACKGROUND}


def test_a_thread_that_had_two_requests_at_once_tells_nothing() -> None:
    several = [
        serve("/a", 10, 20),
        serve("/b", 12, 22, connection=2),
        serve("/c", 30, 31, SECOND, connection=3),
    ]
    writer = record([*several, *[call("poll", n, connection=60) for n in (23, 500, 900)]])
    assert {mock.tier for mock in writer.mocks} == {Tier.BACKGROUND}


@pytest.mark.parametrize("tid", [LOOP, 77], ids=["its own loop", "another thread"])
def test_what_always_follows_a_route_is_for_it(tid: int) -> None:
    """A queue's thread, or what a loop does next, without anything that tells of its cause."""
    exchanges = []
    for n in range(6):
        at = 300 * n + 10
        exchanges += [serve("/write", at, at + 5, LOOP), call(f"W {n}", at + 15, tid)]
        exchanges.append(serve("/read", at + 150, at + 155, LOOP))
    writer = record(exchanges)
    assert [mock.evidence for mock in writer.mocks] == [Evidence.TIME] * 6
    owners = [case for case in writer.cases if case.calls]
    assert [case.request["target"] for case in owners] == ["/write"] * 6


def test_what_also_comes_alone_follows_nobody() -> None:
    exchanges = []
    for n in range(6):
        at = 300 * n + 10
        exchanges += [serve("/write", at, at + 5, LOOP), call("same", at + 15, 77)]
    writer = record([*exchanges, call("same", 2500, 77), serve("/end", 3000, 3001, LOOP)])
    assert {mock.tier for mock in writer.mocks} == {Tier.BACKGROUND}


def test_a_thread_that_a_request_made_works_for_it() -> None:
    """While others are in flight, and also in its own time."""
    writer = record(
        [
            serve("/a", 10, 20),
            serve("/b", 5, 60, SECOND, connection=2),
            call("before", 18, 30),
            call("behind", 40, 31, connection=51),
            call("deeper", 41, 32, connection=52),
        ],
        [(30, FIRST, 15), (31, FIRST, 16), (32, 31, 25), (30, 0, 50), (31, 0, 51), (32, 0, 52)],
    )
    for sql in ("before", "behind", "deeper"):
        assert found(writer, sql) == ("/a", Evidence.THREAD)


def test_a_process_that_a_request_made_works_for_it() -> None:
    """As does one that this makes, while others are in flight."""
    writer = record(
        [
            serve("/a", 10, 60),
            serve("/b", 5, 60, SECOND, connection=2),
            call("own", 30, 300, pid=300),
            call("deeper", 40, 301, pid=301, connection=52),
        ],
        [(300, FIRST, 15), (301, 300, 25), (301, 0, 50), (300, 0, 51)],
    )
    for sql in ("own", "deeper"):
        assert found(writer, sql) == ("/a", Evidence.THREAD)


def test_a_process_that_a_loop_made_is_not_told_apart_by_it() -> None:
    """One that had two requests at once: whoever was read last need not have made it."""
    writer = record(
        [
            serve("/a", 10, 60),
            serve("/b", 12, 60, connection=2),
            call("whose", 30, 300, pid=300),
        ],
        [(300, FIRST, 15), (300, 0, 50)],
    )
    assert writer.mock_of("whose").case is None


def test_a_thread_that_stays_may_be_anybodys() -> None:
    writer = record(
        [
            serve("/a", 10, 20),
            serve("/b", 5, 60, SECOND, connection=2),
            serve("/c", 30, 60, connection=3),
            call("queued", 40, 30),
        ],
        [(30, FIRST, 15)],
    )
    assert writer.mock_of("queued").case is None
