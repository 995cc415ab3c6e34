"""Threads that read no requests: whose calls theirs are."""

from __future__ import annotations

from typing import Any

from kebpf.recording.model import Evidence, RecordedExchange
from kebpf.recording.workers import CALLS_NEEDED, FOLLOWED_NEEDED
from tests.recording.doubles import record
from tests.recording.test_attribution import call, found, serve

LOOP, FIRST, SECOND = 1, 11, 12  # threads: the first reads


def teach_process(**options: Any) -> list[RecordedExchange]:
    """Calls of a process that keeps to its threads, before anything else."""
    options = {"connection": 70, **options}
    return [call(f"warm {n}", n * 2, n * 2 + 1, tid=99, **options) for n in range(CALLS_NEEDED)]


class TestWriters:
    def test_a_call_is_of_the_response_its_thread_writes_next(self) -> None:
        writer, _ = record(
            [
                *teach_process(),
                serve("/a", 100, 200, tid=LOOP, end_tid=FIRST),
                serve("/b", 101, 210, tid=LOOP, end_tid=SECOND, connection=2),
                serve("/queued", 102, 300, tid=LOOP, end_tid=FIRST, connection=3),
                call("A", 150, 151, tid=FIRST),
                call("B", 150, 151, tid=SECOND, connection=51),
                call("Q", 205, 206, tid=FIRST),
            ]
        )
        assert found(writer, "A") == ("/a", Evidence.THREAD)
        assert found(writer, "B") == ("/b", Evidence.THREAD)
        assert found(writer, "Q") == ("/queued", Evidence.THREAD)

    def test_not_where_calls_move_between_threads(self) -> None:
        writer, _ = record(
            [
                *teach_process(),
                call("moved", 50, 51, tid=FIRST, end_tid=SECOND, connection=71),
                serve("/a", 100, 200, tid=LOOP, end_tid=FIRST),
                serve("/b", 101, 210, tid=LOOP, end_tid=SECOND, connection=2),
                call("A", 150, 151, tid=FIRST),
            ]
        )
        assert writer.mock_of("A").case is None


def serve_jobs(first_calls: list[str]) -> list[RecordedExchange]:
    """Pairs of requests at once; what one of each does is done in a worker, as two calls."""
    exchanges = teach_process()
    for number, first in enumerate(first_calls):
        at, sent = 1000 * (number + 1), f"person{number}@example.org"
        exchanges += [
            serve(f"/a/{sent}", at, at + 90, tid=LOOP),
            serve(f"/b/{number}", at + 1, at + 95, tid=LOOP, connection=2),
            call(first, at + 20, at + 21, tid=FIRST, args=[sent]),
            call(f"then {number}", at + 30, at + 31, tid=FIRST, connection=51),
        ]
    return exchanges


class TestContinued:
    def test_what_always_follows_is_of_the_same_request(self) -> None:
        writer, _ = record(serve_jobs(["first"] * FOLLOWED_NEEDED), learning_ns=10**6)
        for number in range(FOLLOWED_NEEDED):
            owner = f"/a/person{number}@example.org"
            assert found(writer, f"then {number}") == (owner, Evidence.THREAD)

    def test_not_if_it_came_after_something_else_once(self) -> None:
        writer, _ = record(serve_jobs([*["first"] * FOLLOWED_NEEDED, "another"]), learning_ns=10**6)
        for number in range(FOLLOWED_NEEDED):
            assert writer.mock_of(f"then {number}").case is None

    def test_not_if_it_was_seen_too_seldom(self) -> None:
        writer, _ = record(serve_jobs(["first"] * (FOLLOWED_NEEDED - 1)), learning_ns=10**6)
        assert writer.mock_of("then 0").case is None
