"""Records in, a test set out, from hand-made logs: without a kernel, in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.capture.eventlog import EventLog, EventLogWriter
from kebpf.capture.events import Direction, EventError, GapReason, Transport
from kebpf.recording.dedup.leaving import LeaveOut, Sifting
from kebpf.recording.model import Manifest, Tier
from kebpf.recording.pipeline import Pipeline, rebuild
from kebpf.recording.store import TestSet, TestSetWriter
from tests.capture.records import Socket
from tests.recording.shop import (
    BODY,
    GET,
    HEAD,
    REQUEST,
    RESPONSE,
    SECOND_NS,
    VALUE,
    Shop,
)

OUT = Direction.EGRESS
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
TLS_DATA = b"\x17\x03\x03\x00\x20" + bytes(32)


def write_log(path: Path, records: list[bytes]) -> EventLog:
    log = EventLogWriter(path)
    log.begin(HEAD)
    for record in records:
        log.write(record)
    log.close()
    return EventLog(path)


def make_set(tmp_path: Path, records: list[bytes]) -> tuple[TestSet, Manifest]:
    """By way of a log."""
    log = write_log(tmp_path / "log", records)
    manifest = rebuild(log, TestSetWriter(tmp_path / "set"), "set")
    return TestSet.open(tmp_path / "set"), manifest


def test_of_equal_requests_exemplars_stay_with_their_calls(tmp_path: Path) -> None:
    shop = Shop().open()
    for _ in range(12):
        shop.serve()
    log = write_log(tmp_path / "log", shop.close().records)
    sifting = Sifting(unique=True)
    manifest = rebuild(log, TestSetWriter(tmp_path / "set"), "set", sifting=sifting)
    test_set = TestSet.open(tmp_path / "set")
    assert [(case.order, case.seen) for case in test_set.cases()] == [(1, 12), (12, 12)]
    assert (manifest.test_cases, manifest.mocks) == (2, 2)
    assert manifest.extra["unique"] == {"requests": 12, "shapes": 1}
    test_set.check_calls()


def test_a_rule_leaves_out_requests_and_their_calls(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", Shop().open().serve().serve().close().records)
    sifting = Sifting(leave_out=[LeaveOut(path="/carts/*")])
    manifest = rebuild(log, TestSetWriter(tmp_path / "set"), "set", sifting=sifting)
    assert (manifest.test_cases, manifest.mocks) == (0, 0)
    assert manifest.losses.left_out == {"leave_out: /carts/*": 2}


def names_of(test_set: TestSet) -> list[str]:
    return [case.request["target"] for case in test_set.cases()]


def calls_of(test_set: TestSet) -> list[str]:
    return [mock.protocol for _, mock in test_set.iter_mocks()]


def test_a_log_becomes_a_test_set(tmp_path: Path) -> None:
    test_set, manifest = make_set(tmp_path, Shop().open().serve().close().records)
    (case,) = test_set.cases()
    ((_, mock),) = test_set.iter_mocks()
    assert (case.request["method"], case.request["target"]) == ("GET", "/carts/7")
    assert case.response["body"] == BODY
    assert (mock.protocol, str(mock.destination)) == ("redis", "10.0.0.2:6379")
    assert case.calls == [mock.name]
    assert (mock.case, mock.tier) == (case.name, Tier.CASE)
    assert manifest.command == HEAD.command
    assert (manifest.executable, manifest.kernel) == (HEAD.executable, HEAD.kernel)
    assert manifest.ports == [8080]
    assert manifest.events == 8
    assert manifest.captured_bytes == len(REQUEST + GET + VALUE + RESPONSE)
    assert manifest.losses.lost_bytes == 0
    assert case.timing.start_ns > HEAD.clock_offset_ns


def test_the_same_log_gives_the_same_files(tmp_path: Path) -> None:
    shop = Shop().open()
    for _ in range(3):
        shop.serve()
    log = write_log(tmp_path / "log", shop.close().records)
    files = []
    for name in ("one", "two"):
        rebuild(log, TestSetWriter(tmp_path / name), "set")
        folder = tmp_path / name
        files.append(
            {
                path.relative_to(folder): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file() and path.name != "test-set.yaml"  # has the time of day
            }
        )
    assert files[0] == files[1]
    assert len(files[0]) == 4


def test_joined_connections(tmp_path: Path) -> None:
    shop = Shop().open(before=(1000, 1000))
    test_set, manifest = make_set(tmp_path, shop.serve().serve().close().records)
    assert names_of(test_set) == ["/carts/7"] * 2
    assert calls_of(test_set) == ["redis"] * 2
    assert manifest.losses.unparsed_connections == 0


def test_a_unix_connection_that_was_open_before_is_joined(tmp_path: Path) -> None:
    """Nothing but its inode says so."""
    one = Socket(transport=Transport.UNIX_STREAM)
    opened = one.open(inode=55, paths=(b"", b"/run/redis"), family=1)
    records = [opened, one.send(b"the rest of a command\r\n"), one.receive(b"+OK\r\n")]
    records += [one.send(GET), one.receive(VALUE)]
    test_set, _ = make_set(tmp_path, records)
    assert calls_of(test_set) == ["redis"]


def test_lost_bytes_keep_their_case_out(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    shop.records.append(shop.inbound.receive(REQUEST))
    shop.records.append(shop.inbound.gap(OUT, len(RESPONSE), GapReason.NO_BUFFER))
    shop.inbound.time_ns += 2 * SECOND_NS
    test_set, manifest = make_set(tmp_path, shop.serve().close().records)
    assert names_of(test_set) == ["/carts/7"] * 2
    assert manifest.losses.lost_bytes == len(RESPONSE)
    assert sum(manifest.losses.left_out.values()) == 1


def test_a_loss_early_in_a_long_run_costs_no_later_case(tmp_path: Path) -> None:
    """A backlog comes as one run: what is overdue in it must not wait for its end."""
    shop = Shop().open().serve()
    shop.inbound.lose(Direction.INGRESS, len(REQUEST))
    shop.records.append(shop.inbound.send(RESPONSE))
    shop.inbound.time_ns += 2 * SECOND_NS
    for _ in range(6):
        shop.serve()
    shop.close()
    test_set, manifest = make_set(tmp_path, [b"".join(shop.records)])
    assert manifest.losses.lost_bytes == len(REQUEST)
    assert len(names_of(test_set)) == 1 + 6


def test_what_the_ring_lost_is_lost(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    shop.inbound.lose(OUT, 1234)
    unopened = Socket(address=9)
    unopened.lose(OUT, 66)
    shop.records.append(unopened.close())
    _, manifest = make_set(tmp_path, shop.close().records)
    assert manifest.losses.lost_bytes == 1234 + 66


def test_encrypted_and_internal_connections(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    secret = Socket(address=3)
    shop.records += [secret.open(remote=("10.0.0.3", 443)), secret.send(TLS_HELLO)]
    shop.records.append(secret.receive(TLS_DATA))
    alarm = Socket(address=4, transport=Transport.UNIX_STREAM)
    shop.records += [alarm.open(family=1), alarm.send(b"\0")]
    test_set, manifest = make_set(tmp_path, shop.close().records)
    assert calls_of(test_set) == ["redis"]
    assert manifest.losses.unparsed_connections == 1


def test_a_log_cut_off_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", Shop().open().serve().close().records)
    path = tmp_path / "log"
    path.write_bytes(path.read_bytes()[:-9])
    writer = TestSetWriter(tmp_path / "set")
    with pytest.raises(EventError):
        rebuild(log, writer, "set")
    writer.abort()
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_progress(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set")
    pipeline = Pipeline(writer, "set", HEAD)
    shop = Shop().open().serve()
    shop.redis.lose(OUT, 5)
    shop.redis.time_ns = shop.inbound.time_ns
    for record in shop.serve().records:
        pipeline.feed(record)
        pipeline.settle()
    progress = pipeline.progress()
    assert progress.requests == 2
    assert progress.connections == 2
    assert progress.events == len(shop.records)
    assert "10.0.0.2:6379" in progress.destinations
    assert progress.protocols["10.0.0.2:6379"] == "redis"
    writer.abort()


def test_the_manifest_says_what_was_recorded(tmp_path: Path) -> None:
    test_set, _ = make_set(tmp_path, Shop().open().serve().close().records)
    assert test_set.manifest.target == "unit shop.service"
    assert test_set.manifest.filters == ["--port 8080"]


BIND_EXECUTE_SYNC = (
    b"B\x00\x00\x00\x0f\x00S_1\x00" + bytes(6) + b"E\x00\x00\x00\x09\x00" + bytes(4)
) + b"S\x00\x00\x00\x04"
SELECTED_NOTHING = b"2\x00\x00\x00\x04C\x00\x00\x00\x0dSELECT 0\x00Z\x00\x00\x00\x05I"


def test_statements_prepared_before_are_told_by_their_server(tmp_path: Path) -> None:
    database = Socket(address=1)
    records = [database.open(remote=("10.0.0.2", 5432), before=(100, 100))]
    for _ in range(2):
        records += [database.send(BIND_EXECUTE_SYNC), database.receive(SELECTED_NOTHING)]
    test_set, manifest = make_set(tmp_path, [*records, database.close()])
    assert manifest.mocks == 0
    assert test_set.manifest.extra == {
        "prepared_before": {
            "10.0.0.2:5432": {"statements": 1, "names": ["S_1"], "connections": 1, "calls": 2}
        }
    }
