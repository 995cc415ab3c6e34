"""A recording whose assembler is confined: the kernel says so, and what it writes is the same."""

from __future__ import annotations

import os
import pwd
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kebpf.capture.eventlog import EventLog
from kebpf.capture.probes import Door
from kebpf.capture.reader import Reader
from kebpf.capture.target import resolve_target
from kebpf.kernel.sandbox import Sandbox, run_confined
from kebpf.recording.assembly import Assembly
from kebpf.recording.channel import Prepare, Prepared
from kebpf.recording.errors import TestSetError
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.pipeline import rebuild
from kebpf.recording.recorder import Recording, begin_recording
from kebpf.recording.recovery import recover_all
from kebpf.recording.store import TestSet, TestSetWriter
from tests.capture.doors import needs_door_a
from tests.capture.records import Socket
from tests.recording.cutting import write_unfinished
from tests.recording.running import run_service
from tests.recording.shop import HEAD, Shop
from tests.recording.test_recorder import FakeProbes, assembling, real_probes, run

pytestmark = pytest.mark.kernel

NOBODY = Sandbox("nobody")
MACHINE_IDS = pwd.getpwnam("nobody")[2:4]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the user of the sandbox may write to, and reach."""
    with TemporaryDirectory() as name:
        os.chown(name, *MACHINE_IDS)
        yield Path(name)


def record(assembly: Assembly, records: list[bytes]) -> None:
    """The whole of a recording, without a kernel."""
    assembly.await_files()
    record_into(assembly, records)


def record_into(assembly: Assembly, records: list[bytes]) -> None:
    """The same, of one whose files are there."""
    probes = FakeProbes(records)
    reader = Reader(probes.as_probes.ring, assembly.spool)
    reader.start()
    run(Recording(probes.as_probes, assembly, reader, HEAD), lambda: False, lambda _: None)


def test_it_is_confined_as_it_reads(folder: Path) -> None:
    with assembling(folder, sandbox=NOBODY) as assembly:
        assembly.await_files()
        lines = Path(f"/proc/{assembly.pid}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (one.partition(":") for one in lines)}
        descriptors = {one.readlink() for one in Path(f"/proc/{assembly.pid}/fd").iterdir()}
        record_into(assembly, Shop().open().serve().close().records)
    assert status["Uid"] == [str(MACHINE_IDS[0])] * 4
    assert status["Gid"] == [str(MACHINE_IDS[1])] * 4
    for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name][0], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    names = {re.sub(r":.*", "", one.name) for one in descriptors}
    assert names == {"null", "socket", "memfd", "log", "mocks.msgpack"}
    assert (folder / "set").stat().st_uid == MACHINE_IDS[0]


def test_what_it_writes_is_what_one_that_is_free_writes(folder: Path) -> None:
    shop = Shop().open()
    for _ in range(5):
        shop.serve()
    records = shop.close().records
    with assembling(folder, "confined", None, NOBODY) as assembly:
        record(assembly, records.copy())
    with assembling(folder, "free", None) as assembly:
        record(assembly, records.copy())
    confined, free = TestSet.open(folder / "confined"), TestSet.open(folder / "free")
    assert confined.cases() == free.cases() != []
    assert list(confined.iter_mocks()) == list(free.iter_mocks()) != []


@needs_door_a
def test_a_real_service(folder: Path) -> None:
    """Live through the sandbox, and from its log without one: the same, as its client saw it."""
    names = ["apple", "pear", "plum"]
    with (
        assembling(folder, "live", sandbox=NOBODY) as assembly,
        run_service() as service,
        real_probes(Door.A) as probes,
    ):
        service.get("warm")
        recording = begin_recording(probes, resolve_target([service.pid]), assembly)
        seen = [service.get(name) for name in names]
        run(recording, iter([False, True]).__next__, lambda _: None)
    live = TestSet.open(folder / "live")
    assert [case.request["target"] for case in live.cases()] == [f"/{name}" for name in names]
    assert [answer["value"] for answer in seen] == [name * 2 for name in names]
    rebuild(EventLog(folder / "log"), TestSetWriter(folder / "again"), "set")
    again = TestSet.open(folder / "again")
    assert again.cases() == live.cases()
    assert list(again.iter_mocks()) == list(live.iter_mocks())


def message(kind: bytes, payload: bytes) -> bytes:
    """Of PostgreSQL's protocol, version 3."""
    return kind + struct.pack(">I", 4 + len(payload)) + payload


def test_what_only_the_recorder_may_look_at_is_asked_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For which database a connection is that was open before: a server's process says it."""
    one = Socket(time_ns=10**9)
    done = message(b"C", b"DELETE 1\0") + message(b"Z", b"I")
    records = [
        one.open(local=("10.0.0.1", 40000), remote=("10.0.0.2", 5432), before=(900, 800)),
        *(
            record
            for number in range(3)
            for record in (
                one.send(message(b"Q", b"DELETE FROM cart WHERE id = %d\0" % number)),
                one.receive(done),
            )
        ),
        one.close(),
    ]
    asked = []

    def find(client: tuple[str, int], server: tuple[str, int]) -> str | None:
        asked.append((client, server))
        return "shop"

    with assembling(folder, "set", None, NOBODY) as assembly:
        monkeypatch.setattr(assembly._backends, "find_database", find)
        record(assembly, records)
    assert asked == [(("10.0.0.1", 40000), ("10.0.0.2", 5432))]
    mocks = [mock for _, mock in TestSet.open(folder / "set").iter_mocks()]
    assert {mock.request.get("database") for mock in mocks} == {"shop"}
    assert mocks


def test_folders_that_are_missing_are_made_for_it(folder: Path) -> None:
    with assembling(folder / "shop" / "today", "set", None, NOBODY) as assembly:
        record(assembly, Shop().open().serve().close().records)
    assert (folder / "shop").stat().st_uid == MACHINE_IDS[0]
    assert TestSet.open(folder / "shop" / "today" / "set").manifest.test_cases == 1


def test_a_folder_it_may_not_write_to(tmp_path: Path) -> None:
    with (
        assembling(tmp_path, "set", None, NOBODY) as assembly,
        pytest.raises(TestSetError, match="Permission denied; choose a folder you may write to"),
    ):
        assembly.await_files()


def test_nothing_else_is_removed_for_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was taken over may name any file, and the recorder is root."""
    (tmp_path / "precious").touch()
    names = [str(tmp_path / "precious"), str(tmp_path), str(folder / ".set.unfinished-1" / "x")]
    with assembling(folder, "set", None, NOBODY) as assembly:
        monkeypatch.setattr(assembly, "expect", lambda _kind: Prepared(names))
        assembly.await_files()
    assert (tmp_path / "precious").exists()


def test_one_that_is_left_alone_makes_the_set(folder: Path) -> None:
    """Of what was captured when its recorder ended, if that was asked for."""
    assembly = Assembly(sandbox=NOBODY)
    try:
        assembly.prepare(Prepare(str(folder / "set"), "set", durable=True))
        assembly.await_files()
        probes = FakeProbes(Shop().open().serve().serve().close().records)
        reader = Reader(probes.as_probes.ring, assembly.spool)
        reader.start()
        Recording(probes.as_probes, assembly, reader, HEAD).watch(lambda: False, lambda _: None)
    finally:
        assembly.close()
    test_set = TestSet.open(folder / "set")
    assert (len(test_set.cases()), test_set.manifest.command) == (2, HEAD.command)
    assert CUT_OFF in test_set.manifest.extra


def test_a_disk_that_fills_up_while_it_records(folder: Path) -> None:
    """One sentence ends the recording; a confined recovery finds room for what was complete."""
    options = f"size=220k,uid={MACHINE_IDS[0]},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    shop = Shop().open()
    for _ in range(300):
        shop.serve()
    assembly = Assembly(sandbox=NOBODY)
    try:
        assembly.prepare(Prepare(str(folder / "set"), "set", durable=True))
        with pytest.raises(TestSetError, match="the disk is full; free some space"):
            record(assembly, shop.close().records)
        assembly.close()
        cases = run_confined(NOBODY, lambda: [one.cases for one in recover_all(folder).recovered])
        test_set = TestSet.open(folder / "set")
        test_set.check_calls()
        assert [len(test_set.cases())] == cases
        assert 0 < cases[0] < 300
    finally:
        assembly.close()
        subprocess.run(["umount", folder], check=True)


def test_a_recovery_may_be_confined_as_well(folder: Path) -> None:
    run_confined(NOBODY, lambda: len(write_unfinished(folder, 3)))
    cases = run_confined(NOBODY, lambda: [one.cases for one in recover_all(folder).recovered])
    assert cases == [3]
    assert (folder / "set").stat().st_uid == MACHINE_IDS[0]
    assert len(TestSet.open(folder / "set").cases()) == 3
