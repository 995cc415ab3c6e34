"""What goes wrong on a host meanwhile: nothing complete is lost, nothing incomplete is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from kebpf.recording.store import TestSet
from kebpf.replay.recordedclock import find_library
from tests.e2e.agents import SERVICE, Agent, Unit, making_unit, running_agent

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

#: How often something is killed; ``make kills`` asks for more, and for later moments.
KILLS = int(os.environ.get("KEBPF_KILLS", "1"))
LATEST_REQUEST = 2500 if "KEBPF_KILLS" in os.environ else 250
VICTIMS = ("assembler", "recorder", "supervisor", "both")
ALL = "unique: false\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Unit]:
    with making_unit("shop", tmp_path) as unit:
        yield unit


@dataclass
class Load:
    """One request after the other, each of its own path; ``answered`` are those answered right."""

    unit: Unit
    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.unit.port, timeout=30)
        number = 0
        while not self._is_over.wait(0.005):  # what is parsed is to keep up
            path, number = f"/item{number}", number + 1
            try:
                connection.request("GET", path)
                is_right = connection.getresponse().read() == b"1 " + path.encode()
            except (OSError, HTTPException):
                is_right = False
            with self._news:
                (self.answered if is_right else self.failed).append(path)
                self._news.notify_all()
        connection.close()

    def wait_for(self, more: int) -> None:
        """So many requests from now on."""
        with self._news:
            wanted = len(self.answered) + more
            assert self._news.wait_for(lambda: self.failed or len(self.answered) >= wanted, 120)
        assert not self.failed

    def end(self) -> None:
        self._is_over.set()


@contextmanager
def loading(unit: Unit) -> Iterator[Load]:
    load = Load(unit)
    client = threading.Thread(target=load.run)
    client.start()
    try:
        yield load
    finally:
        load.end()
        client.join()


def list_cases(path: Path) -> list[str]:
    """The paths of a set's cases, which are whole and answered as the service answers."""
    found = []
    test_set = TestSet.open(path)
    test_set.check_calls()
    for case in test_set.cases():
        target = case.request["target"]
        assert case.response["body"] == b"1 " + target.encode()
        found.append(target)
    return found


def list_all_cases(agent: Agent) -> list[str]:
    return [path for one in agent.sets("shop") for path in list_cases(one)]


def wait_recovered(agent: Agent) -> None:
    """Until no set in its folder is half written but the one that is recorded."""

    def is_so(target: dict[str, object]) -> bool:
        current = Path(str(target["set"])).name
        hidden = [one.name for one in (agent.output / "shop").glob(".*") if one.is_dir()]
        return not [name for name in hidden if not name.startswith(f".{current}.")]

    agent.wait_until("shop", is_so)


def find_assembler(recorder: int) -> int | None:
    children = Path(f"/proc/{recorder}/task/{recorder}/children").read_text().split()
    return int(children[0]) if children else None


def kill(agent: Agent, victim: str) -> None:
    """Either part of it, or all."""
    recorders = agent.target("shop")["recorders"]
    assemblers = [pid for one in recorders if (pid := find_assembler(one))]
    chosen = {
        "assembler": assemblers,
        "recorder": recorders,
        "supervisor": [agent.pid],
        "both": [*assemblers, *recorders],
    }[victim]
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_failed(agent: Agent, before: int) -> None:
    agent.wait_until("shop", lambda one: one["failures"] > before)


def test_kill_9_of_any_part_at_random_moments(tmp_path: Path, shop: Unit) -> None:
    """What the status said was a test case is one in the end, and nothing else is."""
    luck, told, left = random.Random(7), 0, KILLS
    shop.start()
    with loading(shop) as load:
        while left:
            with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
                agent.wait_watched("shop", shop.pid)
                least = 0
                while left:
                    load.wait_for(luck.randrange(1, LATEST_REQUEST))
                    victim = VICTIMS[left % len(VICTIMS)]
                    left -= 1
                    failures = agent.target("shop")["failures"]
                    least = agent.target("shop")["test_cases"]
                    kill(agent, victim)
                    if victim == "supervisor":
                        agent.process.wait(60)
                        break
                    wait_failed(agent, failures)
                    agent.wait_watched("shop", shop.pid)
                told += least
        with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
            agent.wait_watched("shop", shop.pid)
            load.wait_for(10)
            wait_recovered(agent)
            load.end()
            assert agent.end() == 0
            cases = list_all_cases(agent)
        assert not load.failed
    assert len(cases) == len(set(cases)) >= max(told, 10)
    assert set(cases) <= set(load.answered)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_a_disk_that_is_full(tmp_path: Path, shop: Unit) -> None:
    """It is said and tried again, and what was complete is kept; the service notices nothing."""
    shop.start()
    with (
        small_disk(tmp_path / "sets") as disk,
        running_agent(tmp_path, "unit: shop", more=ALL) as agent,
        loading(shop) as load,
    ):
        agent.wait_watched("shop", shop.pid)
        load.wait_for(100)
        agent.wait_until("shop", lambda one: one["test_cases"] > 0)
        remount(disk, "size=600k")
        failing = agent.wait_until("shop", lambda one: "the disk is full" in one["last_error"])
        assert failing["failures"] > 0
        load.wait_for(100)
        remount(disk, "size=50m")
        agent.wait_until("shop", lambda one: one["state"] == "recording")
        load.wait_for(100)
        wait_recovered(agent)
        load.end()
        assert agent.end() == 0
        cases = list_all_cases(agent)
        assert not load.failed
    assert len(cases) == len(set(cases)) >= max(100, failing["test_cases"])
    assert set(cases) <= set(load.answered)


def test_a_disk_that_is_read_only(tmp_path: Path, shop: Unit) -> None:
    """The same; a file system with open files is none that one can make read-only."""
    shop.start()
    (tmp_path / "sets").mkdir()
    with small_disk(tmp_path / "sets" / "shop") as disk:
        with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
            agent.wait_watched("shop", shop.pid)
            shop.fetch("/before")
            assert agent.end() == 0
        remount(disk, "ro")
        with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
            agent.wait_until("shop", lambda one: "Read-only file system" in one["last_error"])
            assert shop.fetch("/meanwhile") == b"1 /meanwhile"
            remount(disk, "rw")
            agent.wait_watched("shop", shop.pid)
            shop.fetch("/after")
            assert agent.end() == 0
        assert sorted(list_all_cases(agent)) == ["/after", "/before"]


def test_a_clock_that_is_set_back(tmp_path: Path, shop: Unit) -> None:
    """By two days, amid a recording: nothing is lost, dropped for its age, or there twice."""
    clock = tmp_path / "clock"
    clock.write_text("+0d\n")
    environment = {
        "LD_PRELOAD": str(find_library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    shop.start()
    more = f"{ALL}limits: {{disk: 50M}}\n"
    with running_agent(tmp_path, "unit: shop", more=more, environment=environment) as agent:
        first = agent.wait_watched("shop", shop.pid)
        sent = [f"/before{number}" for number in range(20)]
        for path in sent:
            shop.fetch(path)
        agent.wait_until("shop", lambda one: one["requests"] == len(sent))
        clock.write_text("-2d\n")
        second = agent.wait_until("shop", lambda one: one["set"] not in ("", first["set"]))
        assert Path(second["set"]).name < Path(first["set"]).name, "an earlier day's"
        agent.wait_watched("shop", shop.pid)
        for number in range(20):
            sent.append(f"/after{number}")
            shop.fetch(sent[-1])
        agent.wait_until("shop", lambda one: one["requests"] == len(sent))
        assert agent.end() == 0
        assert sorted(list_all_cases(agent)) == sorted(sent)


# One path's answer begins and goes on a thousand seconds later.
STALLING = SERVICE.replace(
    "        self.wfile.write(body)\n",
    """
        if self.path == "/stalls":
            self.wfile.write(body[:3])
            __import__("time").sleep(1000)
        self.wfile.write(body)
""",
)


def test_a_target_that_is_killed_amid_its_answers(tmp_path: Path, shop: Unit) -> None:
    shop.source = STALLING
    shop.deploy("1")
    with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
        agent.wait_watched("shop", shop.start())
        for number in range(20):
            shop.fetch(f"/whole{number}")
        stalled = HTTPConnection("127.0.0.1", shop.port, timeout=30)
        stalled.request("GET", "/stalls")
        assert stalled.getresponse().read(3) == b"1 /"
        shop.stop()
        stalled.close()
        with pytest.raises(urllib.error.URLError):
            shop.fetch("/nobody-there")
        agent.wait_watched("shop", shop.start())
        shop.fetch("/again")
        assert agent.end() == 0
        cases = list_all_cases(agent)
    assert sorted(cases) == sorted([*(f"/whole{number}" for number in range(20)), "/again"])


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "targets"', os.urandom(4096)])
def test_a_damaged_state_file(tmp_path: Path, shop: Unit, content: bytes) -> None:
    """It is put aside, and what was recorded before stays."""
    shop.start()
    with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
        agent.wait_watched("shop", shop.pid)
        shop.fetch("/before")
        assert agent.end() == 0
    state = agent.output / ".agent.json"
    assert state.exists()
    state.write_bytes(content)
    with running_agent(tmp_path, "unit: shop", more=ALL) as agent:
        agent.wait_for(".agent.json cannot be used: it is damaged; it was put aside")
        agent.wait_watched("shop", shop.pid)
        shop.fetch("/after")
        assert agent.end() == 0
        assert sorted(list_all_cases(agent)) == ["/after", "/before"]
    assert (agent.output / ".agent.json.damaged-1").read_bytes() == content
