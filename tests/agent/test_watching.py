"""A target's watch: which recorder gets which process, over versions, days and failures."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kebpf.agent import watching
from kebpf.agent.config import Limits, TargetConfig
from kebpf.agent.following import Follower
from kebpf.agent.journal import Journal
from kebpf.agent.link import Link
from kebpf.agent.recorder import Setup
from kebpf.agent.version import VersionReader
from kebpf.agent.watching import Setting, TargetWatch
from kebpf.agent.worker import Pool, Run, Stage
from kebpf.kernel.processes import is_running
from tests.agent.builders import WAITING, running
from tests.agent.test_following import Chosen

PATIENCE_SECONDS = 60.0


def record(setup: Setup, link: Link) -> int:
    """A recorder that finds a test case whatever it watches, and says what it watches."""
    link.send({"ready": True})
    watched: set[int] = set()
    folder, obeyed = Path(), -1
    while True:
        for message in link.receive(0.01):
            obeyed += 1
            if wanted := message.get("record"):
                folder = Path(wanted["folder"])
                watched.update(wanted["pids"])
                link.send({"began": time.monotonic_ns()})
            watched.update(message.get("watch", ()))
            watched.difference_update(message.get("unwatch", ()))
            if "finish" in message:
                folder.mkdir(parents=True)
                link.send({"finished": {"test_cases": 1, "requests": 1}})
                return 0
        watched = {pid for pid in watched if is_running(pid)}
        if obeyed >= 0:
            link.send({"progress": {}, "watched": sorted(watched), "obeyed": obeyed})


def record_nothing(setup: Setup, link: Link) -> int:
    [order] = link.receive(None)
    Path(order["record"]["folder"]).mkdir(parents=True)
    link.send({"began": time.monotonic_ns()})
    link.receive(None)
    link.send({"finished": {"test_cases": 0, "mocks": 0}})
    return 0


def fail(setup: Setup, link: Link) -> int:
    link.send({"failed": "no room"})
    return 1


class Bench:
    """A watch with what is around it."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.day = "2026-11-23"
        self.chosen = Chosen()
        self.log = io.StringIO()
        self.pool = Pool(self.release, run)
        self.folder = folder / "shop"
        follower = Follower(self.chosen, VersionReader(), lambda _: False)
        setting = Setting(
            self.folder,
            self.pool.take,
            Journal(self.log, {}),
            Limits(backlog=1 << 22),
            today=lambda: self.day,
        )
        config = TargetConfig("shop", "unit", "shop.service", (80,), (), True)
        self.watch = TargetWatch(config, follower, setting)

    def release(self) -> None:
        self.watch.release()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, self.log.getvalue()
            self.watch.look()
            self.watch.tick()
            time.sleep(0.005)

    def wait_watched(self, *groups: set[int]) -> None:
        """Until so many recorders record, each of them these."""
        self.wait_until(
            lambda: (
                [set(one.watched) for one in self.watch.workers if one.stage is Stage.RECORDING]
                == list(groups)
            )
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))

    def close(self) -> None:
        self.watch.finish()
        self.wait_until(lambda: self.watch.is_over)
        self.pool.close()


@contextlib.contextmanager
def making_bench(folder: Path, run: Run = record) -> Iterator[Bench]:
    bench = Bench(folder, run)
    try:
        yield bench
    finally:
        bench.close()


def write_program(folder: Path, text: str = "") -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(f"{WAITING}\n{text}\n")
    return sys.executable, folder / "app.py"


def test_the_same_version_goes_on_in_the_same_set(tmp_path: Path) -> None:
    program = write_program(tmp_path / "app")
    with making_bench(tmp_path) as bench:
        for _ in range(2):
            with running(*program) as one:
                bench.chosen.pids = {one.pid}
                bench.wait_watched({one.pid})
        bench.wait_watched(set())
        assert bench.watch.tally.followed == 2
    assert len(bench.names()) == 1


def test_a_new_version_begins_a_new_set_once_the_old_one_has_no_process(tmp_path: Path) -> None:
    with making_bench(tmp_path) as bench, running(*write_program(tmp_path / "app")) as old:
        bench.chosen.pids = {old.pid}
        bench.wait_watched({old.pid})
        with running(*write_program(tmp_path / "app", "# 2")) as new:
            bench.chosen.pids = {old.pid, new.pid}
            bench.wait_watched({old.pid}, {new.pid})
            assert bench.names() == []
            os.kill(old.pid, signal.SIGKILL)
            bench.wait_until(lambda: len(bench.names()) == 1)
            bench.wait_watched({new.pid})
    assert len(bench.names()) == 2


def test_a_new_day_begins_a_new_set_without_a_gap(tmp_path: Path) -> None:
    with making_bench(tmp_path) as bench, running(*write_program(tmp_path / "app")) as one:
        bench.chosen.pids = {one.pid}
        bench.wait_watched({one.pid})
        bench.day = "2026-11-24"
        bench.wait_until(lambda: len(bench.names()) == 1)
        bench.wait_watched({one.pid})
        first = bench.names()
        assert first[0].startswith("2026-11-23-")
    assert [name[:10] for name in bench.names()] == ["2026-11-23", "2026-11-24"]


def test_a_set_with_nothing_in_it_is_not_kept(tmp_path: Path) -> None:
    program = write_program(tmp_path / "app")
    with making_bench(tmp_path, record_nothing) as bench, running(*program) as one:
        bench.chosen.pids = {one.pid}
        bench.wait_until(lambda: bench.watch.current is not None)
        bench.wait_until(lambda: bench.watch.workers[0].stage is Stage.RECORDING)
    assert bench.names() == []
    assert "nothing was recorded, so no set is kept" in bench.log.getvalue()


def test_a_recorder_that_fails_is_started_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SHORTEST_PAUSE", 0.01)  # read when a watch is made
    program = write_program(tmp_path / "app")
    with making_bench(tmp_path, fail) as bench, running(*program) as one:
        bench.chosen.pids = {one.pid}
        begun = time.monotonic()
        bench.wait_until(lambda: bench.watch.tally.failures == 4)
        assert time.monotonic() - begun >= 0.01 + 0.02 + 0.04
        assert bench.watch.tally.last_error == "no room"
        assert bench.log.getvalue().count("shop: no room; it is tried again in") == 4


def test_what_is_recorded_of_it_is_as_the_configuration_says(tmp_path: Path) -> None:
    with making_bench(tmp_path) as bench:
        assert bench.watch.setup.filters.ports == (80,)
        assert bench.watch.setup.filters.is_inbound_only
        assert bench.watch.setup.backlog == 1 << 22


def load_for_ever(setup: Setup, link: Link) -> int:
    link.receive(None)
    signal.pause()
    return 0


def begin_and_hang(setup: Setup, link: Link) -> int:
    link.receive(None)
    link.send({"began": time.monotonic_ns()})
    signal.pause()
    return 0


@pytest.mark.parametrize(
    ("run", "patience"),
    [(load_for_ever, "_LOADING_SECONDS"), (begin_and_hang, "_SILENT_SECONDS")],
)
def test_a_recorder_that_says_nothing_is_ended_but_loading_may_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, patience: str
) -> None:
    """What the other stage is given has no part in it."""
    for name in ("_LOADING_SECONDS", "_SILENT_SECONDS"):
        monkeypatch.setattr(watching, name, 0.1 if name == patience else 1e6)
    with running(*write_program(tmp_path / "app")) as one:
        bench = Bench(tmp_path, run)
        bench.chosen.pids = {one.pid}
        bench.wait_until(lambda: "it is tried again" in bench.log.getvalue())
        [killed] = [line for line in bench.log.getvalue().splitlines() if "tried again" in line]
        assert "the recorder process said nothing for 0 s" in killed
        for worker in bench.watch.workers:
            worker.kill()
        bench.close()
