"""Each rule of attribution in a scenario, and interleavings whose truth the generator knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.recording.model import Evidence, RecordedExchange, Role, Tier
from tests.recording.builders import make_exchange, make_request
from tests.recording.doubles import MemoryWriter, record


def serve(target: str, start: int, end: int, tid: int = 1, **options: Any) -> RecordedExchange:
    request = make_request(target, options.pop("body", b""))
    return make_exchange(start, end, request=request, tid=tid, **options)


def call(sql: str, start: int, end: int, tid: int = 1, **options: Any) -> RecordedExchange:
    request = {"sql": sql, "args": options.pop("args", [])}
    response = {"rows": options.pop("rows", [])}
    values: dict[str, Any] = {
        "protocol": "postgres",
        "connection": 50,
        "role": Role.CLIENT,
    } | options
    return make_exchange(start, end, request=request, response=response, tid=tid, **values)


def found(writer: MemoryWriter, sql: str) -> tuple[str | None, Evidence]:
    return writer.target_of(sql), writer.mock_of(sql).evidence


def test_a_threads_calls_are_its_requests() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50, tid=1),
            serve("/b", 12, 48, tid=2, connection=2),
            call("A", 20, 21, tid=1),
            call("B", 20, 22, tid=2, connection=51),
        ]
    )
    assert found(writer, "A") == ("/a", Evidence.THREAD)
    assert found(writer, "B") == ("/b", Evidence.THREAD)
    assert writer.case_of("/a").calls == [writer.mock_of("A").name]


def test_one_thread_for_all_tells_nothing() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50),
            serve("/b", 12, 48, connection=2),
            call("early", 11, 13),
            call("open", 20, 21),
            call("late", 49, 49),
        ]
    )
    mock = writer.mock_of("open")
    assert (mock.case, mock.tier, mock.evidence) == (None, Tier.CASE, Evidence.NONE)
    assert sorted(mock.candidates) == sorted(case.name for case in writer.cases)
    assert found(writer, "early") == ("/a", Evidence.THREAD)
    assert found(writer, "late") == ("/a", Evidence.THREAD)
    assert writer.case_of("/b").calls == []


def test_threads_tell_nothing_where_work_moves_between_them() -> None:
    writer, _ = record(
        [
            serve("/x", 1, 3, tid=1, end_tid=3),
            serve("/a", 10, 50, tid=1),
            serve("/b", 12, 48, tid=2, connection=2),
            call("A", 20, 21, tid=2),
        ]
    )
    assert writer.mock_of("A").case is None


def test_a_call_after_the_response_is_not_given_to_another_threads_request() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 20, tid=1),
            serve("/b", 12, 48, tid=2, connection=2),
            call("after", 30, 31, tid=1),
        ]
    )
    mock = writer.mock_of("after")
    assert (mock.case, mock.tier) == (None, Tier.BACKGROUND)


def test_processes_are_told_apart() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50, tid=1, pid=1),
            serve("/b", 12, 48, tid=2, pid=2, connection=2),
            call("A", 20, 21, tid=11, pid=1),
            call("child", 30, 31, tid=12, pid=3, connection=52),
        ]
    )
    assert found(writer, "A") == ("/a", Evidence.TIME)
    assert writer.mock_of("child").candidates != []


def test_a_transaction_goes_to_the_only_request_all_its_calls_allow() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50),
            serve("/b", 20, 30, connection=2),
            serve("/c", 35, 60, connection=3),
            call("BEGIN", 21, 21, is_session=True, transaction=1),
            call("one", 22, 23, transaction=1),
            call("two", 40, 41, transaction=1),
            call("COMMIT", 51, 52, is_session=True, transaction=1),
        ]
    )
    assert found(writer, "one") == ("/a", Evidence.CHECKOUT)
    assert found(writer, "two") == ("/a", Evidence.CHECKOUT)
    assert found(writer, "BEGIN") == ("/a", Evidence.CHECKOUT)
    assert found(writer, "COMMIT") == ("/a", Evidence.CHECKOUT)
    assert writer.mock_of("COMMIT").tier is Tier.SESSION
    assert len(writer.case_of("/a").calls) == 2


def test_a_transaction_takes_the_request_of_its_strongest_member() -> None:
    key = "9f1c2d3e4b5a6978"
    writer, _ = record(
        [
            serve(f"/a/{key}", 10, 50),
            serve("/b", 11, 52, connection=2),
            call("one", 20, 21, transaction=1, args=[key]),
            call("two", 30, 31, transaction=1),
        ]
    )
    assert found(writer, "two") == (f"/a/{key}", Evidence.CHECKOUT)


def test_a_transaction_shared_by_requests_tells_nothing() -> None:
    shared = [
        serve("/a", 10, 20),
        call("a", 11, 12, transaction=1),
        serve("/b", 30, 40),
        call("b", 31, 32, transaction=1),
        serve("/c", 50, 60),
        serve("/d", 55, 70, connection=2),
        call("c", 51, 52, transaction=1),
        call("d", 56, 57, transaction=1),
    ]
    writer, _ = record(shared)
    assert found(writer, "a")[0] == "/a"
    assert found(writer, "b")[0] == "/b"
    assert found(writer, "c")[0] == "/c"
    assert writer.target_of("d") is None


def test_a_transaction_of_no_request_says_nothing_of_others() -> None:
    """One at start-up, say: a COMMIT after it still belongs to its transaction's request."""
    writer, _ = record(
        [
            call("BEGIN", 2, 2, is_session=True, transaction=1),
            call("version", 3, 4, transaction=1),
            call("COMMIT", 5, 5, is_session=True, transaction=1),
            serve("/a", 10, 50),
            call("one", 20, 21, transaction=2),
            call("END", 30, 31, is_session=True, transaction=2),
        ]
    )
    assert writer.mock_of("COMMIT").case is None
    assert found(writer, "END") == ("/a", Evidence.CHECKOUT)


def test_a_learned_pool_checkout_binds_calls_together() -> None:
    """The pool resets a connection when it comes back; handovers have shown that."""
    exchanges: list[RecordedExchange] = []
    for turn in range(5):
        at = turn * 100 + 100
        exchanges += [
            serve(f"/warm{turn}", at, at + 50),
            call(f"warm{turn}", at + 10, at + 11),
            call(f"RESET{turn}", at + 20, at + 21, is_session=True),
        ]
    exchanges += [
        serve("/a", 1000, 1050),
        call("a1", 1010, 1011),
        serve("/b", 1020, 1080, connection=2),
        call("a2", 1030, 1031),
        call("RESET", 1040, 1041, is_session=True),
        call("b1", 1045, 1046),
        call("b2", 1060, 1061),
    ]
    writer, _ = record(exchanges)
    assert found(writer, "a2") == ("/a", Evidence.CHECKOUT)
    assert found(writer, "b1") == ("/b", Evidence.CHECKOUT)


def test_a_connection_used_by_turns_binds_nothing() -> None:
    exchanges: list[RecordedExchange] = []
    for turn in range(5):
        at = turn * 100 + 100
        exchanges += [serve(f"/warm{turn}", at, at + 50), call(f"warm{turn}", at + 10, at + 11)]
    exchanges += [
        call("PING", 990, 991, is_session=True),
        serve("/a", 1000, 1050),
        call("a1", 1010, 1011),
        serve("/b", 1020, 1080, connection=2),
        call("open", 1030, 1031),
    ]
    writer, _ = record(exchanges)
    assert writer.target_of("open") is None


@pytest.mark.parametrize("options", [{"transaction": 1}, {"calls": 0}])
def test_what_a_pool_does_not_do_at_a_handover_teaches_nothing(options: dict[str, int]) -> None:
    """That a COMMIT, or a statement's preparation, came between two requests is chance."""
    exchanges: list[RecordedExchange] = []
    for turn in range(5):
        at = turn * 100 + 100
        exchanges += [
            serve(f"/warm{turn}", at, at + 50),
            call(f"warm{turn}", at + 10, at + 11),
            call(f"END{turn}", at + 20, at + 21, is_session=True, **options),
        ]
    exchanges += [
        serve("/report", 1000, 1080),
        call("rows", 1010, 1011),
        serve("/b", 1020, 1050, connection=2),
        call("open", 1030, 1031),
    ]
    writer, _ = record(exchanges)
    assert found(writer, "rows")[0] == "/report"
    assert writer.target_of("open") is None


@pytest.mark.parametrize(
    "key", ["alice@example.com", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "9f1c2d3e4b5a6978"]
)
def test_a_distinctive_value_tells(key: str) -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50, body=f'{{"who": "{key}"}}'.encode()),
            serve("/b", 11, 52, connection=2),
            call("A", 20, 21, args=[f"user:{key}:cart"]),
        ]
    )
    assert found(writer, "A") == ("/a", Evidence.LINEAGE)


def test_an_earlier_answer_of_the_request_tells() -> None:
    token = "aa11bb22cc33dd44ee55"
    writer, _ = record(
        [
            serve("/a", 10, 50),
            call("first", 11, 12, rows=[[token]]),
            serve("/b", 20, 52, connection=2),
            call("second", 30, 31, args=[token]),
        ]
    )
    assert found(writer, "second") == ("/a", Evidence.LINEAGE)


def test_a_value_both_requests_may_have_does_not_tell() -> None:
    token = "aa11bb22cc33dd44ee55"
    writer, _ = record(
        [
            serve(f"/a/{token}", 10, 50),
            serve("/b", 11, 52, connection=2),
            call("open", 20, 21, rows=[[token]]),
            call("second", 30, 31, args=[token]),
        ]
    )
    assert writer.target_of("second") is None


def test_a_small_number_tells_where_it_has_proved_to() -> None:
    exchanges: list[RecordedExchange] = []
    for number in range(3, 7):
        at = number * 100
        exchanges += [
            serve(f"/orders/{number}", at, at + 50),
            call("SELECT order LIMIT 10", at + 10, at + 11, args=[number, 10]),
        ]
    exchanges += [
        serve("/orders/41", 1000, 1050),
        serve("/orders/10", 1001, 1060, connection=2),
        call("SELECT order LIMIT 10", 1010, 1011, args=[41, 10]),
        call("UPDATE other", 1020, 1021, args=[41]),
    ]
    writer, _ = record(exchanges)
    mock = next(mock for mock in writer.mocks if mock.request["args"] == [41, 10])
    assert (mock.case, mock.evidence) == (writer.case_of("/orders/41").name, Evidence.LINEAGE)
    assert writer.mock_of("UPDATE other").case is None


def test_a_lone_request_has_every_call_of_its_time() -> None:
    writer, _ = record([serve("/a", 10, 50, tid=1), call("A", 20, 21, tid=9)])
    assert found(writer, "A") == ("/a", Evidence.TIME)


def test_a_poll_that_falls_into_a_request_stays_background() -> None:
    polls = [call("poll", at, at + 1, tid=9, connection=60) for at in (60, 70, 80, 110)]
    writer, _ = record([serve("/a", 10, 50), *polls, serve("/b", 100, 120)])
    assert {mock.tier for mock in writer.mocks} == {Tier.BACKGROUND}


def run_jobs(*starts: int, tid: int) -> list[RecordedExchange]:
    """What a thread does for jobs, each another: in a transaction, with an id of the job."""
    done: list[RecordedExchange] = []
    for number, at in enumerate(starts):
        job = f"a{number}d97c1e-5b02-4f7e-9c3a-0d1e2f3a4b5c"
        options: dict[str, Any] = {"tid": tid, "connection": 60, "transaction": number + 1}
        done += [
            call("BEGIN", at, at, is_session=True, **options),
            call(f"UPDATE jobs SET state = 'it''s {number}' WHERE id = '{job}'", at, at, **options),
            call("COMMIT", at, at, is_session=True, **options),
        ]
    return done


def test_what_a_thread_does_unasked_as_well_is_no_requests() -> None:
    job = "a1d97c1e-5b02-4f7e-9c3a-0d1e2f3a4b5c"
    jobs = run_jobs(15, 32, 60, 70, 115, tid=9)
    asking = serve(f"/jobs/{job}", 30, 38, tid=2, connection=2)
    writer, _ = record(
        [serve("/a", 10, 50), asking, *jobs, serve("/b", 100, 120)], learning_ns=1000
    )
    updates = [mock for mock in writer.mocks if mock.tier is not Tier.SESSION]
    assert len(updates) == 5 and len(writer.mocks) == 15
    assert {mock.tier for mock in updates} == {Tier.BACKGROUND}
    assert {(mock.case, tuple(mock.candidates)) for mock in writer.mocks} == {(None, ())}


def test_what_a_thread_does_only_while_requests_are_served_is_theirs() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50),
            call("SELECT 1", 20, 21, tid=9),
            *(call(f"INSERT audit {at}", at, at + 1, tid=9) for at in (60, 70, 80)),
            serve("/b", 100, 120),
            call("SELECT 2", 110, 111, tid=9),
            call("INSERT audit 112", 112, 113, tid=9),
        ],
        learning_ns=1000,
    )
    assert found(writer, "SELECT 1") == ("/a", Evidence.TIME)
    assert found(writer, "SELECT 2") == ("/b", Evidence.TIME)
    assert writer.mock_of("INSERT audit 112").tier is Tier.BACKGROUND


def test_startup_and_background() -> None:
    writer, _ = record(
        [
            call("start", 1, 2),
            call("hello", 3, 4, is_session=True),
            serve("/a", 10, 20),
            call("idle", 30, 31),
            serve("/b", 40, 50),
        ]
    )
    assert writer.mock_of("start").tier is Tier.STARTUP
    assert writer.mock_of("hello").tier is Tier.SESSION
    assert writer.mock_of("idle").tier is Tier.BACKGROUND


def test_the_target_may_call_itself() -> None:
    writer, _ = record(
        [
            serve("/outer", 10, 50, tid=1),
            call("to itself", 15, 40, tid=1, protocol="http"),
            serve("/inner", 20, 35, tid=2, connection=2),
            call("inner", 25, 26, tid=2, connection=51),
        ]
    )
    assert found(writer, "to itself") == ("/outer", Evidence.THREAD)
    assert found(writer, "inner") == ("/inner", Evidence.THREAD)


# Interleavings.  Each generated request is a list of steps; a scheduler of the kind of server
# under test places them in time, so which call is whose is known without looking at evidence.


@dataclass
class Plan:
    """A generated recording and, by SQL, whose each call is."""

    exchanges: list[RecordedExchange]
    truth: dict[str, str | None]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    kind = draw(st.sampled_from(["threads", "loop", "workers", "processes"]))
    count = draw(st.integers(1, 7))
    steps = [draw(st.integers(0, 4)) for _ in range(count)]
    begins = [draw(st.integers(0, 30)) for _ in range(count)]
    keys = [draw(st.sampled_from([f"{n}", f"k{n}f00d1234567890"])) for n in range(count)]
    transactional = [draw(st.booleans()) for _ in range(count)]
    order = draw(st.permutations([index for index in range(count) for _ in range(steps[index])]))
    exchanges: list[RecordedExchange] = []
    truth: dict[str, str | None] = {}
    times: dict[int, list[int]] = {index: [] for index in range(count)}
    for at, index in enumerate(order):
        times[index].append(at * 10 + 40)
    thread_free: dict[int, int] = {}
    for index in range(count):
        start = begins[index]
        end = max([start + 1, *(at + 8 for at in times[index])]) + draw(st.integers(0, 40))
        tid, pid = 1, 100
        if kind == "threads":
            tid = next(t for t in range(1, 20) if thread_free.get(t, -1) < start)
            thread_free[tid] = end + 15
        elif kind == "processes":
            tid = pid = next(t for t in range(1, 20) if thread_free.get(t, -1) < start)
            thread_free[tid] = end + 15
        target = f"/r{index}/{keys[index]}"
        exchanges.append(serve(target, start, end, tid=tid, pid=pid, connection=index + 1))
        worker = 100 + index if kind == "workers" else tid
        for number, at in enumerate(times[index]):
            sql = f"S{index}.{number}"
            truth[sql] = target
            exchanges.append(
                call(
                    sql,
                    at,
                    at + draw(st.integers(1, 8)),
                    tid=worker,
                    pid=pid,
                    connection=50 + index if transactional[index] else 49,
                    transaction=index if transactional[index] else None,
                    args=draw(st.sampled_from([[], [keys[index]], [7], [f"x-{keys[index]}"]])),
                )
            )
        if transactional[index] and times[index]:
            sql = f"COMMIT{index}"
            truth[sql] = target
            exchanges.append(
                call(
                    sql,
                    end + 5,
                    end + 6,
                    tid=worker,
                    pid=pid,
                    connection=50 + index,
                    transaction=index,
                    is_session=True,
                )
            )
    return Plan(exchanges, truth)


@settings(max_examples=400, deadline=None)
@given(plans(), st.booleans())
def test_no_call_is_given_to_the_wrong_request(plan: Plan, step: bool) -> None:
    writer, _ = record(plan.exchanges, step)
    assert len(writer.mocks) == len(plan.truth)
    for sql, owner in plan.truth.items():
        mock = writer.mock_of(sql)
        if mock.tier is Tier.SESSION and mock.case is None:
            continue
        if mock.case is None:
            names = {writer.case_of(str(owner)).name}
            assert names <= set(mock.candidates)
        else:
            assert writer.target_of(sql) == owner


@settings(max_examples=200, deadline=None)
@given(plans())
def test_when_things_are_settled_does_not_matter(plan: Plan) -> None:
    at_once, _ = record(plan.exchanges, step=False)
    stepwise, _ = record(plan.exchanges, step=True)
    assert stepwise.mocks == at_once.mocks
    assert stepwise.cases == at_once.cases
