"""Mistakes in what is done once the response is out: in a hook of its own thread, in a thread made.

The client cannot see any of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.e2e.field.lines import Answer, Backends, CallFinding, as_json, line
from tests.e2e.field.sql_calls import ADD, do

LATE = "outgoing calls are not asserted: after the response"
THREAD = "outgoing calls are not asserted: in a thread that the handler makes"


def answer_then(do_it: Callable[[], object], times: int = 1) -> Answer:
    """The handler's own thread goes on behind the response."""
    return Answer(b"{}", after=lambda: [do_it() for _ in range(times)])


def answer_beside(do_it: Callable[[], object], times: int = 1) -> Answer:
    """Threads that nobody waits for: before or behind the response, as it happens."""
    for _ in range(times):
        threading.Thread(target=do_it).start()
    return Answer(b"{}")


@line(LATE, CallFinding("missing", "/notify/late"))
def call_after_the_response_lost(bug: bool, use: Backends) -> Answer:
    answer = as_json({"sent": "later"})
    if not bug:
        answer.after = lambda: use.http.post("/notify/late", json={"to": "alice"})
    return answer


@line(LATE, CallFinding("changed", "/notify/behind"))
def call_after_the_response_changed(bug: bool, use: Backends) -> Answer:
    to = {"to": "bob" if bug else "alice"}
    return answer_then(lambda: use.http.post("/notify/behind", json=to))


@line(LATE, CallFinding("repeated", "/notify/twice"))
def call_after_the_response_doubled(bug: bool, use: Backends) -> Answer:
    return answer_then(lambda: use.http.post("/notify/twice", json={}), 2 if bug else 1)


@line(LATE, CallFinding("missing", "INCRBY late"))
def late_write_lost(bug: bool, use: Backends) -> Answer:
    return Answer(b"{}", after=None if bug else lambda: use.redis.incr("late"))


@line(LATE, CallFinding("changed", "INCRBY late:changed"))
def late_write_changed(bug: bool, use: Backends) -> Answer:
    return answer_then(lambda: use.redis.incrby("late:changed", 2 if bug else 1))


@line(LATE, CallFinding("repeated", "INCRBY late:doubled"))
def late_write_doubled(bug: bool, use: Backends) -> Answer:
    return answer_then(lambda: use.redis.incr("late:doubled"), 2 if bug else 1)


@line(LATE, CallFinding("missing", "INSERT INTO events"))
def late_insert_lost(bug: bool, use: Backends) -> Answer:
    """In a transaction of its own."""
    return answer_then(lambda: do(use, ADD, "late", "insert"), 0 if bug else 1)


@line(LATE, CallFinding("changed", "INSERT INTO events"))
def late_insert_changed(bug: bool, use: Backends) -> Answer:
    return answer_then(lambda: do(use, ADD, "late", "bad" if bug else "good"))


@line(THREAD, CallFinding("missing", "INCRBY beside"))
def write_of_a_thread_lost(bug: bool, use: Backends) -> Answer:
    return answer_beside(lambda: use.redis.incr("beside"), 0 if bug else 1)


@line(THREAD, CallFinding("changed", "/notify/beside"))
def call_of_a_thread_changed(bug: bool, use: Backends) -> Answer:
    to = {"to": "bob" if bug else "alice"}
    return answer_beside(lambda: use.http.post("/notify/beside", json=to))


@line(THREAD, CallFinding("repeated", "INCRBY beside:doubled"))
def write_of_a_thread_doubled(bug: bool, use: Backends) -> Answer:
    return answer_beside(lambda: use.redis.incr("beside:doubled"), 2 if bug else 1)


@line(THREAD, CallFinding("missing", "INSERT INTO events"))
def insert_of_a_thread_lost(bug: bool, use: Backends) -> Answer:
    return answer_beside(lambda: do(use, ADD, "beside", "insert"), 0 if bug else 1)
