"""A recording in its two processes: on probes made by hand, and of a real service."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from kebpf.capture.errors import NoTargetError
from kebpf.capture.eventlog import EventLog
from kebpf.capture.events import Loss
from kebpf.capture.filters import FILTER_NAMES
from kebpf.capture.probes import Door, Moved, Probes
from kebpf.capture.reader import Reader
from kebpf.capture.target import Target, resolve_target
from kebpf.kernel.hierarchies import Group
from kebpf.kernel.processes import ProcessFacts
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.assembly import AssemblerError, Assembly
from kebpf.recording.channel import Prepare
from kebpf.recording.doubts import CALLS_LOST
from kebpf.recording.pipeline import rebuild
from kebpf.recording.progress import Progress
from kebpf.recording.recorder import Ending, Recording, begin_recording
from kebpf.recording.store import TestSet, TestSetWriter
from tests.capture.doors import DOORS
from tests.capture.records import Socket
from tests.recording.running import run_service
from tests.recording.shop import HEAD, REQUEST, RESPONSE, SECOND_NS, Shop


def run(
    recording: Recording, should_stop: Callable[[], bool], show: Callable[[Progress], None]
) -> Ending:
    """The whole of a recording."""
    recording.watch(should_stop, show)
    return recording.finish()


@contextmanager
def assembling(
    tmp_path: Path, name: str = "set", log: str | None = "log", sandbox: Sandbox | None = None
) -> Iterator[Assembly]:
    """An assembler that was asked for its files."""
    assembly = Assembly(sandbox=sandbox)
    try:
        events = None if log is None else str(tmp_path / log)
        assembly.prepare(Prepare(str(tmp_path / name), name, events=events))
        yield assembly
    finally:
        assembly.close()


def is_reading() -> bool:
    """Whether a reader's thread runs."""
    return any(thread.name == "kebpf-reader" for thread in threading.enumerate())


class FakeRing:
    def __init__(self, runs: list[bytes]) -> None:
        self.runs = runs

    def wait(self, seconds: float) -> None:
        pass

    def drain(self, most: int) -> bytes:
        return self.runs.pop(0) if self.runs else b""


class FakeProbes:
    """Probes without a kernel: what is asked of them is noted."""

    with_tasks = False
    with_tls = False

    def __init__(self, runs: list[bytes] | None = None) -> None:
        self.ring = FakeRing(runs or [])
        self.notes: list[str] = []
        self.targets: set[int] = set()
        self.moved: list[Moved] = []
        self.listening: list[int] = []
        self.is_read: list[bool] = []
        self.filtered = 0
        self.lost_events = 0

    def watch(self, pids: list[int]) -> None:
        self.notes.append("watch")
        self.is_read.append(is_reading())
        self.targets |= set(pids)

    def unwatch(self, pids: set[int]) -> None:
        self.targets -= pids

    def watch_groups(self, groups: list[Group], are_awaited: bool = False) -> None:
        assert groups == [], "processes have none"

    def tell_listening(self, listening: list[int]) -> None:
        self.listening = listening

    def attach(self) -> None:
        self.notes.append("attach")

    def detach(self) -> None:
        self.notes.append("detach")

    def watched(self) -> list[int]:
        return list(self.targets)

    def counts(self) -> dict[str, int]:
        filtered = {**dict.fromkeys(FILTER_NAMES, 0), FILTER_NAMES[0]: self.filtered}
        losses = {"lost_events": self.lost_events, "lost_bytes": 0, "unfollowed_bytes": 40}
        return {**losses, "untold_lives": 0, **filtered}

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
    target = Target(make_facts(100), [100], pids=[100])
    probes = FakeProbes([])
    with assembling(tmp_path) as assembly:
        begin_recording(probes.as_probes, target, assembly).close()
    assert probes.notes[:2] == ["attach", "watch"]
    assert probes.is_read == [True, True], "before there is anything to read"
    assert not is_reading()


class TestRecording:
    @pytest.fixture(autouse=True)
    def assembled(self, tmp_path: Path) -> Iterator[None]:
        """Closed at the end, as a command's own is."""
        with assembling(tmp_path) as self.assembly:
            yield

    def record(self, probes: FakeProbes, is_lasting: bool = False) -> Recording:
        self.assembly.await_files()
        reader = Reader(probes.as_probes.ring, self.assembly.spool)
        reader.start()
        return Recording(probes.as_probes, self.assembly, reader, HEAD, is_lasting)

    def test_it_ends_with_its_target(self, tmp_path: Path) -> None:
        records = Shop().open().serve().close().records
        probes = FakeProbes(records.copy())
        ending = run(self.record(probes), lambda: False, lambda _: None)
        assert probes.notes[0] == "detach"
        manifest = TestSet.open(tmp_path / "set").manifest
        assert manifest.test_cases == ending.progress.test_cases == 1
        assert ending.progress.lost_events == manifest.losses.lost_events == 0
        assert ending.progress.unfollowed_size == manifest.losses.lost_bytes == 40
        assert (ending.progress.proven, ending.progress.unbalanced) == (2, {})
        assert EventLog(tmp_path / "log").head == HEAD
        assert b"".join(EventLog(tmp_path / "log").runs()) == b"".join(records)

    def test_a_loss_is_in_the_log_and_keeps_out_what_it_may_have_been_of(
        self, tmp_path: Path
    ) -> None:
        shop = Shop(Socket(1, time_ns=time.monotonic_ns()), Socket(2)).open()
        shop.records.append(shop.inbound.receive(REQUEST))
        shop.inbound.time_ns += 10 * SECOND_NS
        shop.records.append(shop.inbound.send(RESPONSE))
        probes = FakeProbes(shop.close().records)
        probes.lost_events = 3
        ending = run(self.record(probes), lambda: False, lambda _: None)
        assert ending.progress.lost_events == 3
        assert ending.progress.left_out == {CALLS_LOST: 1}
        manifest = TestSet.open(tmp_path / "set").manifest
        assert (manifest.test_cases, manifest.losses.lost_events) == (0, 3)
        assert [type(one) for one in EventLog(tmp_path / "log").events()].count(Loss) == 1

    def test_it_ends_when_told_to(self, tmp_path: Path) -> None:
        shop = Shop().open().serve()
        probes = FakeProbes(shop.records)
        probes.targets = {100}
        one = shop.inbound
        moved = (one.moved[0], one.moved[1] + 7)
        probes.moved = [Moved(one.address, one.generation, moved, (0, 7))]
        shown: list[float] = []
        ending = run(
            self.record(probes),
            lambda: len(shown) >= 3,
            lambda progress: shown.append(progress.seconds),
        )
        manifest = TestSet.open(tmp_path / "set").manifest
        assert manifest.test_cases == 1
        assert ending.progress.lost_size == 7
        assert manifest.losses.lost_bytes == 7 + 40
        assert shown == sorted(shown)

    def test_a_lasting_target_may_have_no_process_for_a_while(self) -> None:
        probes = FakeProbes()
        shown: list[float] = []
        run(
            self.record(probes, is_lasting=True),
            lambda: len(shown) >= 3,
            lambda progress: shown.append(progress.seconds),
        )
        assert len(shown) >= 3

    def test_connections_that_filters_left_out_are_counted(self) -> None:
        probes = FakeProbes(Shop().open().serve().close().records)
        probes.filtered = 7
        ending = run(self.record(probes), lambda: False, lambda _: None)
        assert ending.progress.filtered == {"--port": 7}

    def test_a_display_that_fails_leaves_no_probe_attached(self, tmp_path: Path) -> None:
        probes = FakeProbes()
        probes.targets = {100}

        def fail(_: Progress) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            self.record(probes).watch(lambda: False, fail)
        assert probes.notes == ["detach"]
        self.assembly.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_damaged_event_ends_it(self, tmp_path: Path) -> None:
        probes = FakeProbes([b"\xff" * 64])
        probes.targets = {100}
        with pytest.raises(AssemblerError, match="unexpected EventError: damaged") as caught:
            self.record(probes).watch(lambda: False, lambda _: None)
        assert "feed_run" in caught.value.traceback
        assert probes.notes == ["detach"]
        self.assembly.close()
        assert list(tmp_path.iterdir()) == []

    def test_an_assembler_that_is_killed_ends_it(self, tmp_path: Path) -> None:
        """What it can no longer remove is removed for it."""
        probes = FakeProbes(Shop().open().serve().records)
        probes.targets = {100}
        recording = self.record(probes)
        assert len(list(tmp_path.iterdir())) == 2
        os.kill(self.assembly.pid, signal.SIGKILL)
        with pytest.raises(AssemblerError, match="was ended by SIGKILL"):
            recording.watch(lambda: False, lambda _: None)
        self.assembly.close()
        assert list(tmp_path.iterdir()) == []


def test_a_target_that_ends_before_the_probes_are_in_place(tmp_path: Path) -> None:
    probes = FakeProbes()
    limit = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    target = Target(make_facts(limit), [limit], pids=[limit])
    with (
        assembling(tmp_path) as assembly,
        pytest.raises(NoTargetError, match=f"process {limit} ended before the recording began"),
    ):
        begin_recording(probes.as_probes, target, assembly)
    assert probes.targets == set()
    assert not is_reading()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def real_probes(door: Door) -> Iterator[Probes]:
    probes = Probes(door, ring_size=4 << 20)
    try:
        yield probes
    finally:
        probes.close()


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_a_real_service(tmp_path: Path, door: Door) -> None:
    """What is recorded of it live, and what its log gives, is what its client saw."""
    with (
        assembling(tmp_path, "live") as assembly,
        run_service() as service,
        real_probes(door) as probes,
    ):
        assert service.get("warm") == {"name": "warm", "value": "warmwarm"}
        target = resolve_target([service.pid])
        assert target.listening == [service.port]
        recording = begin_recording(probes, target, assembly)
        names = ["apple", "pear", "plum"]
        seen = [service.get(name) for name in names]
        ending = run(recording, iter([False, True]).__next__, lambda _: None)
    live = TestSet.open(tmp_path / "live")
    assert ending.progress.lost_size == live.manifest.losses.unparsed_connections == 0
    assert [case.request["target"] for case in live.cases()] == [f"/{name}" for name in names]
    assert [case.response["body"] for case in live.cases()] == [
        b'{"name": "%s", "value": "%s"}' % (name.encode(), name.encode() * 2) for name in names
    ]
    assert [answer["value"] for answer in seen] == [name * 2 for name in names]
    assert [mock.protocol for _, mock in live.iter_mocks()] == ["redis"] * 3
    assert [len(case.calls) for case in live.cases()] == [1, 1, 1]
    assert live.manifest.ports == [service.port]
    rebuild(EventLog(tmp_path / "log"), TestSetWriter(tmp_path / "again"), "set")
    again = TestSet.open(tmp_path / "again")
    assert again.cases() == live.cases()
    assert list(again.iter_mocks()) == list(live.iter_mocks())
