"""Recorder processes as the supervisor sees them; these record nothing."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.agent.link import Link
from kebpf.agent.recorder import Order, Setup
from kebpf.agent.worker import Pool, Stage, Worker, start_standby

PATIENCE_SECONDS = 30.0
ORDER = Order(Path("/nowhere/set"), "unit shop.service", (10, 11))
WATCHED = {"watched": [10, 11]}


def record_as_told(setup: Setup, link: Link) -> int:
    """Says what a recorder says, and at the end what it was told."""
    link.send({"ready": True})
    told: list[object] = []
    while not any(isinstance(one, dict) and "finish" in one for one in told):
        for message in link.receive(None):
            told.append(message)
            if "record" in message:
                link.send({"began": time.monotonic_ns(), **WATCHED})
            if "watch" in message:
                link.send({"watching": message["watch"], "at_ns": time.monotonic_ns()})
    link.send({"finished": {"told": told, "requests": 3}})
    return 0


def fail(setup: Setup, link: Link) -> int:
    link.receive(None)
    link.send({"failed": "there is no room"})
    return 1


def wait(setup: Setup, link: Link) -> int:
    select.select([], [], [])
    return 0


@pytest.fixture
def pools() -> Iterator[list[Pool]]:
    made: list[Pool] = []
    yield made
    for pool in made:
        pool.close()


def await_stage(worker: Worker, *stages: Stage) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while worker.stage not in stages:
        assert time.monotonic() < deadline
        select.select([worker.link], [], [], PATIENCE_SECONDS)
        worker.hear()


def await_end(worker: Worker) -> None:
    select.select([worker.handle], [], [], PATIENCE_SECONDS)
    assert worker.reap()


def test_it_is_told_what_came_while_it_started(pools: list[Pool]) -> None:
    pools.append(pool := Pool(lambda: None, record_as_told))
    worker = pool.take(Setup(), ORDER, "v1")
    worker.note_seen(10, time.monotonic_ns())
    worker.watch(12, time.monotonic_ns())
    assert worker.stage is Stage.STARTING
    await_stage(worker, Stage.RECORDING)
    assert worker.watched == [10, 11]
    worker.unwatch([10])
    worker.finish()
    worker.finish()
    assert worker.stage in (Stage.FINISHING,)
    await_stage(worker, Stage.FINISHED)
    await_end(worker)
    record, *others = worker.progress["told"]
    assert Order.of_message(record) == ORDER
    assert others == [
        {"watch": [12]},
        {"unwatch": [10]},
        {"finish": True},
    ]
    assert sorted(worker.latencies) == [10, 12]
    assert all(0 <= seconds < PATIENCE_SECONDS for seconds in worker.latencies.values())


def test_an_end_while_it_starts_is_an_end_once_it_records(pools: list[Pool]) -> None:
    pools.append(pool := Pool(lambda: None, record_as_told))
    worker = pool.take(Setup(), ORDER, "v1")
    worker.finish()
    await_stage(worker, Stage.FINISHED)
    await_end(worker)


def test_how_it_failed_is_said(pools: list[Pool]) -> None:
    pools.append(pool := Pool(lambda: None, fail))
    worker = pool.take(Setup(), ORDER, "v1")
    await_end(worker)
    assert (worker.stage, worker.error) == (Stage.FAILED, "there is no room")
    pools.append(pool := Pool(lambda: None, wait))
    worker = pool.take(Setup(), ORDER, "v1")
    assert not worker.reap()
    worker.kill()
    await_end(worker)
    assert (worker.stage, worker.error) == (
        Stage.FAILED,
        "the recorder process was ended by SIGKILL",
    )


def test_one_is_kept_in_reserve_for_each_setup(pools: list[Pool]) -> None:
    pools.append(pool := Pool(lambda: None, record_as_told))
    setup = Setup(backlog=5 << 20)
    pool.keep({setup})
    [reserve] = pool.reserve
    worker = pool.take(setup, ORDER, "v1")
    assert worker.pid == reserve
    assert pool.reserve == []
    worker.finish()
    await_stage(worker, Stage.FINISHED)
    await_end(worker)


def test_a_reserve_that_died_or_is_not_wanted_is_replaced(pools: list[Pool]) -> None:
    pools.append(pool := Pool(lambda: None, record_as_told))
    pool.keep({Setup()})
    [reserve] = pool.reserve
    handle = os.pidfd_open(reserve)
    os.kill(reserve, signal.SIGKILL)
    select.select([handle], [], [], PATIENCE_SECONDS)
    worker = pool.take(Setup(), ORDER, "v1")
    assert worker.pid != reserve
    worker.finish()
    await_stage(worker, Stage.FINISHED)
    await_end(worker)
    pool.keep(())
    assert pool.reserve == []
    os.close(handle)


def test_what_is_the_supervisors_is_closed_in_it() -> None:
    ours, theirs = os.pipe()
    standby = start_standby(Setup(), lambda: os.close(theirs), record_as_told)
    os.close(theirs)
    assert os.read(ours, 1) == b""  # nobody has the other end
    standby.close()
    os.close(ours)
