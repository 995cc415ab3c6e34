"""From exchanges to a test set: what is kept, what is left out and why, what is held meanwhile."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kebpf.recording.activity import Inbound, Outbound
from kebpf.recording.builder import BEGAN_BEFORE, FEW_REQUESTS, OpenRequest, RecordingBuilder
from kebpf.recording.model import Losses, RecordedExchange, Role, Tier, Tls
from kebpf.recording.store import TestSet, TestSetWriter
from kebpf.recording.times import SECOND_NS
from tests.recording.builders import make_exchange, make_request, make_response
from tests.recording.doubles import MemoryWriter, find_plain, make_builder, record


def serve(target: str, start: int, end: int, **options: Any) -> RecordedExchange:
    return make_exchange(start, end, request=make_request(target), **options)


def call(sql: str, start: int, end: int, **options: Any) -> RecordedExchange:
    values: dict[str, Any] = {
        "protocol": "postgres",
        "connection": 50,
        "role": Role.CLIENT,
        "request": {"sql": sql, "args": options.pop("args", [])},
        "response": {"rows": options.pop("rows", [])},
    }
    return make_exchange(start, end, **(values | options))


def test_names_and_order_follow_the_time_of_the_requests() -> None:
    writer, builder = record(
        [
            serve("/slow", 10, 90, tid=1),
            serve("/fast", 20, 30, tid=2, connection=2),
            call("first", 11, 80, tid=1),
            call("second", 21, 22, tid=2, connection=51),
            call("third", 23, 24, tid=2, connection=51),
        ]
    )
    assert [mock.request["sql"] for mock in writer.mocks] == ["first", "second", "third"]
    assert [mock.name for mock in writer.mocks] == ["mock-000001", "mock-000002", "mock-000003"]
    assert writer.case_of("/slow").order == 1
    assert writer.case_of("/fast").order == 2
    assert writer.case_of("/fast").calls == ["mock-000002", "mock-000003"]
    assert builder.held_size == 0


def test_recording_again_gives_the_same_names_and_repeats_are_numbered() -> None:
    exchanges = [serve("/a", 10 * n, 10 * n + 5) for n in range(1, 4)]
    first, _ = record(exchanges)
    again, _ = record([serve("/a", 1000 * n, 1000 * n + 9, tid=7) for n in range(1, 4)])
    names = [case.name for case in first.cases]
    assert names == [names[0], names[0] + "-2", names[0] + "-3"]
    assert [case.name for case in again.cases] == names


def test_a_connection_was_kept_open_if_another_request_on_it_was_answered() -> None:
    writer, _ = record(
        [
            serve("/first", 10, 20, connection=1),
            serve("/alone", 11, 21, connection=2),
            serve("/second", 22, 25, connection=1),
            serve("/broken", 26, 28, connection=1, problem="cut off"),
        ]
    )
    kept = {case.request["target"]: case.is_kept_open for case in writer.cases}
    assert kept == {"/first": True, "/alone": False, "/second": False}


def test_cases_and_mocks_say_how_they_were_encrypted() -> None:
    served, called = Tls("shop.example", "http/1.1", "TLSv1.3"), Tls("db.example")
    writer, _ = record(
        [
            serve("/first", 10, 20, tls=served),
            call("encrypted", 11, 12, tls=called),
            call("plain", 13, 14, connection=51),
        ]
    )
    assert [case.tls for case in writer.cases] == [served]
    assert [mock.tls for mock in writer.mocks] == [called, None]


def test_calls_of_the_thread_that_read_the_request_are_marked() -> None:
    writer, _ = record(
        [
            serve("/own", 10, 20, tid=1),
            call("by its reader", 11, 12, tid=1),
            serve("/other", 30, 40, tid=1),
            call("by another", 31, 32, tid=2),
        ]
    )
    assert [mock.is_by_reader for mock in writer.mocks] == [True, False]


def test_where_work_changes_threads_no_call_is_marked() -> None:
    writer, _ = record(
        [serve("/own", 10, 20, tid=1, end_tid=2), call("by its reader", 11, 12, tid=1)]
    )
    assert [mock.is_by_reader for mock in writer.mocks] == [False]


def test_a_broken_request_is_left_out_with_its_calls() -> None:
    writer, builder = record(
        [
            serve("/bad", 10, 20, problem="12 bytes of the response were lost"),
            call("bad", 12, 13),
            serve("/good", 30, 40),
            call("good", 32, 33),
        ]
    )
    assert [case.request["target"] for case in writer.cases] == ["/good"]
    assert [mock.request["sql"] for mock in writer.mocks] == ["good"]
    assert [mock.name for mock in writer.mocks] == ["mock-000001"]
    assert builder.stats.left_out == {"12 bytes of the response were lost": 1}
    assert writer.manifest is not None
    assert writer.manifest.losses.left_out == builder.stats.left_out


def test_a_broken_call_takes_its_request_and_its_siblings_along() -> None:
    writer, builder = record(
        [
            serve("/bad", 10, 20),
            call("fine", 11, 12),
            call("broken", 13, 14, problem="unknown statement"),
            serve("/good", 30, 40),
        ]
    )
    assert [case.request["target"] for case in writer.cases] == ["/good"]
    assert writer.mocks == []
    assert builder.stats.left_out == {"a call it made cannot be replayed: unknown statement": 1}


def test_a_broken_call_nobody_can_be_told_from_takes_all_that_may_have_made_it() -> None:
    writer, builder = record(
        [
            serve("/a", 10, 50),
            serve("/b", 11, 51, connection=2),
            call("broken", 20, 21, problem="unknown statement"),
            serve("/c", 60, 70),
        ]
    )
    assert [case.request["target"] for case in writer.cases] == ["/c"]
    reason = "a call it may have made cannot be replayed: unknown statement"
    assert builder.stats.left_out == {reason: 2}


def test_a_call_that_may_be_of_a_request_left_out_is_asserted_for_nobody() -> None:
    writer, _ = record(
        [
            serve("/a", 10, 50),
            serve("/b", 11, 51, connection=2, problem="cut off"),
            call("either", 20, 21),
        ]
    )
    mock = writer.mock_of("either")
    kept = [writer.cases[0].name]
    assert (mock.tier, mock.case, mock.candidates) == (Tier.BACKGROUND, None, kept)


@pytest.mark.parametrize("end", [21, 40])
def test_a_call_that_may_be_of_a_request_not_seen_is_nobody_s(end: int) -> None:
    """Though it is the only request known on the call's thread."""
    answers = [unseen(end=1), unseen(end=end)]  # piece by piece
    mine = [serve("/a", 10, 50), call("either", 20, 22), call("mine", 41, 42)]
    writer, builder = record([*answers, *mine])
    either = writer.mock_of("either")
    assert (either.tier, either.case) == (Tier.BACKGROUND, None)
    assert writer.mock_of("mine").case == writer.cases[0].name
    assert builder.stats.left_out == {BEGAN_BEFORE: 1}


def unseen(end: int) -> RecordedExchange:
    return serve("/", 0, end, connection=9, problem=BEGAN_BEFORE)


def test_a_call_of_a_request_not_seen_alone_is_left_out() -> None:
    writer, _ = record([unseen(end=30), call("theirs", 20, 21), serve("/a", 40, 50)])
    assert writer.mocks == []


def test_session_exchanges_stay_when_their_request_is_left_out() -> None:
    writer, _ = record(
        [serve("/a", 10, 50, problem="cut off"), call("BEGIN", 20, 21, is_session=True)]
    )
    assert (writer.mocks[0].tier, writer.mocks[0].case) == (Tier.SESSION, None)


def test_a_broken_end_of_a_transaction_takes_its_request_along() -> None:
    writer, builder = record(
        [
            serve("/bad", 10, 50),
            call("INSERT", 20, 21, transaction=1),
            call("COMMIT", 30, 31, transaction=1, is_session=True, problem="it failed"),
        ]
    )
    assert (writer.cases, writer.mocks) == ([], [])
    assert builder.stats.left_out == {"a call it made cannot be replayed: it failed": 1}


def test_broken_calls_of_no_request_are_counted() -> None:
    writer, builder = record([call("start", 1, 2, problem="cut off"), serve("/a", 10, 20)])
    assert writer.mocks == []
    assert builder.stats.left_out == {"a call of no test case: cut off": 1}


def test_other_protocols_inbound_are_no_test_cases() -> None:
    writer, builder = record(
        [serve("PING", 10, 20, protocol="redis"), call("its", 12, 13), serve("/a", 30, 40)]
    )
    assert [case.request["target"] for case in writer.cases] == ["/a"]
    assert writer.mocks == []
    reason = "inbound redis exchanges are not made into test cases"
    assert builder.stats.left_out == {reason: 1}
    assert writer.manifest is not None
    assert writer.manifest.ports == [8000]


@pytest.mark.parametrize("odd", [{1, 2}, "\ud800", [[[]]]])
def test_what_cannot_be_stored_is_left_out(odd: Any) -> None:
    if isinstance(odd, list):
        for _ in range(500):
            odd = [odd]
    writer, builder = record(
        [
            serve("/a", 10, 20),
            call("odd", 12, 13, args=[odd]),
            make_exchange(30, 40, request=make_request("/b") | {"odd": odd}),
            serve("/c", 50, 60),
        ]
    )
    assert [case.request["target"] for case in writer.cases] == ["/c"]
    assert sum(builder.stats.left_out.values()) == 2
    assert all("cannot be stored" in reason for reason in builder.stats.left_out)


def test_a_generated_value_is_found_and_a_derived_one_is_not() -> None:
    made = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    given = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
    writer, _ = record(
        [
            make_exchange(
                10,
                50,
                request=make_request(f"/a/{given}"),
                response=make_response() | {"id": made, "owner": given},
            ),
            call("INSERT", 20, 21, args=[made, given]),
        ]
    )
    assert list(writer.mocks[0].generated) == ["/args/0"]
    assert list(writer.case_of(f"/a/{given}").generated) == ["/id"]
    assert writer.cases[0].strength.by_class == 2


def test_a_call_of_no_request_may_hold_a_time_that_was_read_well_before() -> None:
    made = datetime(2026, 11, 22, 16, 37, 5, 123_456, UTC)
    at = int(made.timestamp()) * SECOND_NS + 500_000_000

    sql = f"DONE {made.isoformat()}"
    writer, _ = record(
        [call(sql, at, at + 1), call(f"LATER {sql}", at + 9 * SECOND_NS, at + 10 * SECOND_NS)]
    )
    template = "DONE {time:%Y-%m-%dT%H:%M:%S.%f%:z}"
    assert writer.mocks[0].generated["/operation"] == template
    assert "{time:" not in str(writer.mocks[1].generated)


def test_an_open_call_is_generated_only_if_it_is_for_every_request() -> None:
    given = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
    writer, _ = record(
        [
            serve("/a", 10, 50),
            serve(f"/b/{given}", 11, 51, connection=2),
            serve(f"/c/{given}", 12, 52, connection=3),
            call("INSERT", 20, 21, args=[given]),
        ]
    )
    assert len(writer.mocks[0].candidates) == 3
    assert writer.mocks[0].generated == {}


def test_stats_are_live() -> None:
    writer = MemoryWriter()
    builder = make_builder(writer)
    builder.add(call("A", 11, 12))
    builder.add(serve("/a", 10, 20))
    builder.advance(15, [])
    assert (builder.stats.requests, builder.stats.test_cases, builder.stats.mocks) == (1, 0, 0)
    builder.advance(100, [OpenRequest(90, 2)])
    assert (builder.stats.requests, builder.stats.test_cases, builder.stats.mocks) == (1, 1, 1)
    assert builder.stats.destinations == {"127.0.0.1:5432": 1}


@pytest.mark.parametrize(
    ("requests", "now", "decided"),
    [(FEW_REQUESTS, 999, False), (FEW_REQUESTS, 1200, True), (9, 1200, False), (9, 4200, True)],
)
def test_little_that_was_seen_teaches_longer(requests: int, now: int, decided: bool) -> None:
    """On a slow host the fourth of some references comes late; the first waits for it."""
    writer = MemoryWriter()
    builder = make_builder(writer, learning_ns=1000)
    for at in range(requests):
        builder.add(serve(f"/{at}", 100 + at, 101 + at))
    builder.advance(now, [])
    assert builder.stats.test_cases == (requests if decided else 0)


def test_nothing_is_settled_while_an_earlier_request_is_open() -> None:
    writer = MemoryWriter()
    builder = make_builder(writer)
    builder.add(call("A", 11, 12))
    builder.add(serve("/a", 10, 20))
    builder.advance(10_000, [OpenRequest(5, 9)])
    assert writer.mocks == []
    builder.add(serve("/long", 5, 10_001, connection=9))
    builder.finish()
    assert len(writer.mocks[0].candidates) == 2


def _count_held() -> int:
    gc.collect()
    return sum(isinstance(one, Inbound | Outbound | RecordedExchange) for one in gc.get_objects())


def test_what_is_held_does_not_grow_with_the_recording() -> None:
    writer = MemoryWriter()
    builder = make_builder(writer)
    held: list[int] = []
    before = _count_held()
    for number in range(1, 1201):
        at = number * 100
        builder.add(call("A", at + 10, at + 11, args=[number], transaction=number))
        builder.add(call("B", at + 40, at + 41, args=[number], connection=51))
        builder.add(call("COMMIT", at + 130, at + 131, transaction=number, is_session=True))
        builder.add(serve(f"/a/{number}", at, at + 120, connection=number))
        builder.advance(at + 130, [OpenRequest(at + 100, number + 1)])
        if number % 300 == 0:
            held.append(_count_held() - before - len(writer.cases))
    # A case leaves one light object in each capped memory; exchanges are all gone.
    assert max(held) < 60
    assert builder.held_size < 20_000
    builder.finish()
    assert len(writer.cases) == 1200
    assert builder.held_size == 0


def test_a_request_open_for_ever_does_not_hold_all_others() -> None:
    writer = MemoryWriter()
    builder = make_builder(writer, held_cap=20_000)
    stream = OpenRequest(50, 9, tid=9)
    peak = 0
    for number in range(1, 301):
        at = number * 100
        builder.add(call("A", at + 10, at + 11, tid=1))
        builder.add(call("B", at + 20, at + 21, tid=5, connection=51))
        builder.add(serve(f"/a/{number}", at, at + 50, tid=1))
        builder.advance(at + 90, [stream])
        peak = max(peak, builder.held_size)
    builder.add(serve("/stream", 50, 31_000, tid=9, connection=9))
    builder.finish()
    assert peak < 40_000
    assert len(writer.cases) == 300
    assert {mock.tier for mock in writer.mocks if mock.request["sql"] == "A"} == {Tier.CASE}
    assert {mock.tier for mock in writer.mocks if mock.request["sql"] == "B"} == {Tier.BACKGROUND}
    assert list(builder.stats.left_out.values()) == [1]


def test_a_request_given_up_and_never_seen_again_is_counted() -> None:
    builder = make_builder(MemoryWriter(), held_cap=0)
    builder.add(serve("/a", 10, 20))
    builder.advance(100, [OpenRequest(5, 9)])
    manifest = builder.finish()
    assert manifest.losses.left_out == {"it was not finished when the recording ended": 1}


def test_an_unfinished_request_may_have_made_any_call_until_now() -> None:
    cut = serve("/cut", 10, 10, problem="the recording ended before the response")
    cut.exchange.response_start = cut.exchange.response_end = None
    builder = make_builder(writer := MemoryWriter())
    builder.add(call("either", 30, 31))
    builder.add(serve("/a", 20, 40, connection=2))
    builder.add(cut)
    builder.finish()
    assert writer.mock_of("either").tier is Tier.BACKGROUND


def test_the_whole_way_to_the_disk(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    builder = RecordingBuilder(writer, "set", find_protocol=find_plain)
    builder.add(call("A", 11, 12))
    builder.add(serve("/a", 10, 20))
    manifest = builder.finish(
        created_ns=5,
        kebpf_version="0.1.0",
        kernel="6.1",
        command=["app"],
        executable="/bin/app",
        ports=[9000],
        events=7,
        captured_bytes=70,
        seconds=1.5,
        losses=Losses(lost_events=1),
        extra={"notes": ["x"]},
    )
    test_set = TestSet.open(tmp_path / "set")
    assert test_set.manifest == manifest
    assert (manifest.test_cases, manifest.mocks, manifest.ports) == (1, 1, [9000, 8000])
    case = test_set.cases()[0]
    mock = next(test_set.iter_mocks())[1]
    assert case.calls == [mock.name]
    assert mock.case == case.name
    assert json.loads(case.response["body"]) == {}
