"""Maps and links by bpf(2), against what bpftool reads of the same map."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.probes import Probes
from kebpf.kernel.bpf import Map, attach_raw_tracepoint, link_to_cgroup

pytestmark = pytest.mark.kernel

U32 = struct.Struct("=I")


@pytest.fixture(scope="module")
def probes() -> Iterator[Probes]:
    made = Probes(ring_size=64 << 10)
    yield made
    made.close()


@pytest.fixture
def targets(probes: Probes) -> Iterator[Map]:
    made = Map(probes._loaded.maps["targets"], 4, 4)
    yield made
    for key, _ in list(made.items()):
        del made[key]


def read_by_bpftool(made: Map) -> dict[int, int]:
    fdinfo = Path(f"/proc/self/fdinfo/{made.descriptor}").read_text()
    number = next(line.split()[1] for line in fdinfo.splitlines() if line.startswith("map_id:"))
    command = ["bpftool", "-j", "map", "dump", "id", number]
    entries = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {_number(entry["key"]): _number(entry["value"]) for entry in entries}


def _number(words: list[str]) -> int:
    return int.from_bytes(bytes(int(word, 16) for word in words), "little")


def test_what_is_set_is_there(targets: Map) -> None:
    for number in (7, 8, 9):
        targets[U32.pack(number)] = U32.pack(number * 10)
    del targets[U32.pack(8)]
    assert read_by_bpftool(targets) == {7: 70, 9: 90}
    assert targets[U32.pack(7)] == U32.pack(70)
    assert sorted(targets.items()) == [(U32.pack(7), U32.pack(70)), (U32.pack(9), U32.pack(90))]
    targets[U32.pack(7)] = U32.pack(1)
    assert targets[U32.pack(7)] == U32.pack(1)


def test_what_is_not_there(targets: Map) -> None:
    with pytest.raises(KeyError):
        targets[U32.pack(1)]
    with pytest.raises(FileNotFoundError):
        del targets[U32.pack(1)]
    assert list(targets.items()) == []


def test_many_entries_come_once_each(targets: Map) -> None:
    for number in range(1000):
        targets[U32.pack(number)] = U32.pack(number)
    assert sorted(U32.unpack(key)[0] for key, _ in targets.items()) == list(range(1000))


def test_watched_processes_are_the_map(probes: Probes, targets: Map) -> None:
    probes.watch([11, 12])
    probes.unwatch([12, 13])
    assert probes.watched() == [11]
    assert read_by_bpftool(targets) == {11: 1}


def test_a_closed_map_is_an_error() -> None:
    number = os.open("/dev/null", os.O_RDONLY)
    os.close(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        list(Map(number, 4, 4).items())


def test_what_cannot_be_attached_is_an_error(probes: Probes) -> None:
    program = probes._loaded.programs["on_sched_process_exec"]
    with pytest.raises(FileNotFoundError):
        attach_raw_tracepoint(program, "no_such_tracepoint")
    folder = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(OSError):
            link_to_cgroup(program, folder, 10)
    finally:
        os.close(folder)
