"""Records in, a test set out: from hand-made logs without a kernel, and from a real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from kebpf.capture.eventlog import EventLog, EventLogWriter, LogHead
from kebpf.capture.events import Direction, EventError, GapReason, SocketRole, Transport
from kebpf.capture.probes import Door, Moved, Probes
from kebpf.capture.target import NoTargetError, Target, resolve_target
from kebpf.kernel.processes import ProcessFacts
from kebpf.recording.model import Manifest, Tier
from kebpf.recording.recorder import (
    Ending,
    Pipeline,
    Progress,
    Recording,
    begin_recording,
    rebuild,
)
from kebpf.recording.store import TestSet, TestSetWriter
from tests.capture.records import Socket
from tests.recording.running import run_service

OUT = Direction.EGRESS
SECOND_NS = 1_000_000_000
REQUEST = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
BODY = b'{"cart": "seven"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + BODY
GET = b"*2\r\n$3\r\nGET\r\n$6\r\ncart:7\r\n"
VALUE = b"$5\r\nseven\r\n"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)

HEAD = LogHead(
    clock_offset_ns=1_700_000_000 * SECOND_NS,
    pids=[100],
    listening=[8080],
    sockets=[55],
    command=["shop", "--port", "8080"],
    executable="/usr/bin/shop",
    kernel="6.1.0",
)


def run(
    recording: Recording, should_stop: Callable[[], bool], show: Callable[[Progress], None]
) -> Ending:
    """The whole of a recording."""
    recording.watch(should_stop, show)
    return recording.finish()


@dataclass
class Shop:
    """A made-up service: one inbound connection and one to Redis, in one thread."""

    inbound: Socket = field(default_factory=lambda: Socket(address=1))
    redis: Socket = field(default_factory=lambda: Socket(address=2))
    records: list[bytes] = field(default_factory=list)

    def open(self, before: tuple[int, int] = (0, 0)) -> Shop:
        self.records += [
            self.inbound.open(SocketRole.SERVER, ("10.0.0.1", 8080), ("10.0.0.9", 51000), before),
            self.redis.open(remote=("10.0.0.2", 6379), before=before),
        ]
        return self

    def serve(self, call: bytes = GET) -> Shop:
        """A request, a call within it, the answer; then two quiet seconds."""
        self.records.append(self.inbound.receive(REQUEST))
        self.redis.time_ns = self.inbound.time_ns
        self.records += [self.redis.send(call), self.redis.receive(VALUE)]
        self.inbound.time_ns = self.redis.time_ns
        self.records.append(self.inbound.send(RESPONSE))
        self.inbound.time_ns += 2 * SECOND_NS
        return self

    def close(self) -> Shop:
        self.redis.time_ns = self.inbound.time_ns
        self.records += [self.inbound.close(), self.redis.close()]
        return self


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
    shop.records.append(shop.inbound.gap(OUT, len(RESPONSE), GapReason.NO_BUFFER, 40))
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


class FakeRing:
    def __init__(self, runs: list[bytes]) -> None:
        self.runs = runs

    def wait(self, seconds: float) -> None:
        pass

    def drain(self) -> bytes:
        return self.runs.pop(0) if self.runs else b""


class FakeProbes:
    """Probes without a kernel: what is asked of them is noted."""

    def __init__(self, runs: list[bytes] | None = None) -> None:
        self.ring = FakeRing(runs or [])
        self.notes: list[str] = []
        self.targets: set[int] = set()
        self.moved: list[Moved] = []

    def watch(self, pids: list[int]) -> None:
        self.notes.append("watch")
        self.targets |= set(pids)

    def unwatch(self, pids: set[int]) -> None:
        self.targets -= pids

    def attach(self) -> None:
        self.notes.append("attach")

    def detach(self) -> None:
        self.notes.append("detach")

    def watched(self) -> list[int]:
        return list(self.targets)

    def counts(self) -> dict[str, int]:
        return {"lost_events": 3}

    def open_connections(self) -> list[Moved]:
        return self.moved

    @property
    def as_probes(self) -> Probes:
        return cast(Probes, self)


def make_facts(pid: int) -> ProcessFacts:
    return ProcessFacts(pid, 1, "shop", ["shop"], "/usr/bin/shop", False)


def test_all_probes_see_a_target_from_the_same_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kebpf.recording.recorder.refresh_target", lambda _target: None)
    target = Target(make_facts(100), [100], [100])
    probes, writer = FakeProbes([]), TestSetWriter(tmp_path / "set")
    begin_recording(probes.as_probes, target, writer, "set", None)
    writer.abort()
    assert probes.notes[:2] == ["attach", "watch"]


class TestRecording:
    @pytest.fixture(autouse=True)
    def writers(self, tmp_path: Path) -> Iterator[None]:
        """Closed at the end, as a command's own does."""
        self.writer = TestSetWriter(tmp_path / "set")
        self.log = EventLogWriter(tmp_path / "log")
        yield
        self.writer.abort()
        self.log.abort()

    def record(self, probes: FakeProbes) -> Recording:
        self.log.begin(HEAD)
        return Recording(probes.as_probes, Pipeline(self.writer, "set", HEAD), self.log)

    def test_it_ends_with_its_target(self, tmp_path: Path) -> None:
        records = Shop().open().serve().close().records
        probes = FakeProbes(records.copy())
        ending = run(self.record(probes), lambda: False, lambda _: None)
        assert probes.notes == ["detach"]
        assert ending.manifest.test_cases == ending.progress.test_cases == 1
        assert ending.progress.lost_events == ending.manifest.losses.lost_events == 3
        assert EventLog(tmp_path / "log").head == HEAD
        assert b"".join(EventLog(tmp_path / "log").runs()) == b"".join(records)

    def test_it_ends_when_told_to(self) -> None:
        shop = Shop().open().serve()
        probes = FakeProbes(shop.records)
        probes.targets = {100}
        one = shop.inbound
        moved = (one.moved[0], one.moved[1] + 7)
        probes.moved = [Moved(one.address, one.generation, moved, (0, 7))]
        shown: list[Progress] = []
        ending = run(self.record(probes), lambda: len(shown) == 3, shown.append)
        assert ending.manifest.test_cases == 1
        assert ending.manifest.losses.lost_bytes == 7
        assert [progress.seconds for progress in shown] == sorted(
            progress.seconds for progress in shown
        )

    def test_a_display_that_fails_leaves_no_probe_attached(self) -> None:
        probes = FakeProbes()
        probes.targets = {100}

        def fail(_: Progress) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            self.record(probes).watch(lambda: False, fail)
        assert probes.notes == ["detach"]


def test_a_target_that_ends_before_the_probes_are_in_place(tmp_path: Path) -> None:
    probes = FakeProbes()
    limit = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    target = Target(make_facts(limit), [limit], [limit])
    writer = TestSetWriter(tmp_path / "set")
    with pytest.raises(NoTargetError, match=f"process {limit} ended before the recording began"):
        begin_recording(probes.as_probes, target, writer, "set", None)
    assert probes.targets == set()
    writer.abort()


@contextmanager
def real_probes(door: Door) -> Iterator[Probes]:
    probes = Probes(door, ring_size=4 << 20)
    try:
        yield probes
    finally:
        probes.close()


@pytest.mark.kernel
@pytest.mark.parametrize("door", list(Door))
def test_a_real_service(tmp_path: Path, door: Door) -> None:
    """What is recorded of it live, and what its log gives, is what its client saw."""
    with run_service() as service, real_probes(door) as probes:
        assert service.get("warm") == {"name": "warm", "value": "warmwarm"}
        target = resolve_target([service.pid])
        assert target.listening == [service.port]
        log = EventLogWriter(tmp_path / "log")
        writer = TestSetWriter(tmp_path / "live")
        recording = begin_recording(probes, target, writer, "set", log)
        names = ["apple", "pear", "plum"]
        seen = [service.get(name) for name in names]
        ending = run(recording, iter([False, True]).__next__, lambda _: None)
    assert ending.manifest.losses.lost_bytes == ending.manifest.losses.unparsed_connections == 0
    live = TestSet.open(tmp_path / "live")
    assert [case.request["target"] for case in live.cases()] == [f"/{name}" for name in names]
    assert [case.response["body"] for case in live.cases()] == [
        b'{"name": "%s", "value": "%s"}' % (name.encode(), name.encode() * 2) for name in names
    ]
    assert [answer["value"] for answer in seen] == [name * 2 for name in names]
    assert [mock.protocol for _, mock in live.iter_mocks()] == ["redis"] * 3
    assert [len(case.calls) for case in live.cases()] == [1, 1, 1]
    assert ending.manifest.ports == [service.port]
    rebuild(EventLog(tmp_path / "log"), TestSetWriter(tmp_path / "again"), "set")
    again = TestSet.open(tmp_path / "again")
    assert again.cases() == live.cases()
    assert list(again.iter_mocks()) == list(live.iter_mocks())
