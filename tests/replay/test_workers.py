"""Forked workers: what they tell arrives, however they end, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kebpf.replay.workers import Crew, Ended, Send, Work


def gather(*works: Work) -> dict[int, list[Any]]:
    """Everything that each worker tells, to its end."""
    crew = Crew(works)
    found: dict[int, list[Any]] = {}
    try:
        for worker, message in crew.messages():
            found.setdefault(worker.number, []).append(message)
    finally:
        crew.stop()
    return found


def count_to(number: int) -> Work:
    def work(send: Send) -> None:
        for each in range(number):
            send(each)

    return work


def stand_until_interrupted(send: Send) -> None:
    send(os.getpid())
    try:
        signal.pause()
    finally:
        send("undone")


def test_all_that_is_told_arrives_in_order() -> None:
    assert gather(count_to(1000), count_to(3)) == {
        1: [*range(1000), Ended(None)],
        2: [0, 1, 2, Ended(None)],
    }


def test_a_message_of_any_size_is_one_message() -> None:
    big = b"x" * 5_000_000
    assert gather(lambda send: send(big)) == {1: [big, Ended(None)]}


def test_each_is_a_process_of_its_own() -> None:
    found = gather(*[lambda send: send(os.getpid())] * 3)
    assert len({pids[0] for pids in found.values()} | {os.getpid()}) == 4


def test_a_killed_worker_is_told_with_what_killed_it() -> None:
    def die(send: Send) -> None:
        send("so far")
        os.kill(os.getpid(), signal.SIGKILL)

    assert gather(die, count_to(1)) == {
        1: ["so far", Ended("was ended by SIGKILL")],
        2: [0, Ended(None)],
    }


def test_an_unexpected_error_is_told_as_a_sentence() -> None:
    def fail(send: Send) -> None:
        raise KeyError("no such thing")

    assert gather(fail) == {1: [Ended("met an unexpected KeyError: 'no such thing'")]}


def test_stop_interrupts_waits_and_leaves_nobody() -> None:
    crew = Crew([stand_until_interrupted] * 3)
    messages = crew.messages()
    pids = [next(messages)[1] for _ in range(3)]
    crew.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_does_not_care_is_killed() -> None:
    def ignore(send: Send) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        send("deaf")
        while True:
            signal.pause()

    crew = Crew([ignore])
    worker, _ = next(crew.messages())
    assert crew.stop(wait_s=0.1) == [worker.pid]
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, os.WNOHANG)


def test_a_full_pipe_does_not_keep_a_worker_from_ending() -> None:
    def pour(send: Send) -> None:
        while True:
            send(b"x" * 100_000)

    crew = Crew([pour])
    worker, _ = next(crew.messages())
    crew.stop()
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, os.WNOHANG)


MAKER = r"""
import os, signal, sys, time
from kebpf.replay.workers import Crew
def work(send):
    try:
        os.write(1, b"%d\n" % os.getpid())
        while True:
            time.sleep(0.1)  # pause(2) would miss a signal that came just before it
    finally:
        os.write(1, b"undone\n")
crew = Crew([work, work])
signal.pause()
"""


def test_workers_undo_what_they_did_when_their_maker_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", MAKER], env=environment, stdout=pipe, text=True
    ) as maker:
        assert maker.stdout is not None
        pids = [int(maker.stdout.readline()) for _ in range(2)]
        maker.kill()
        assert maker.stdout.read().split() == ["undone", "undone"]  # to its end: both are gone
    for pid in pids:
        while Path(f"/proc/{pid}").exists():  # until whoever took them over has reaped them
            time.sleep(0.01)


class Slow:
    """Interrupted while it is collected, as an event loop may be."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def __del__(self) -> None:
        self._send("collecting")
        signal.pause()


def test_an_interrupt_of_a_destructor_is_neither_printed_nor_lost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[Any] = []

    def work(send: Send) -> None:
        slow = Slow(send)
        del slow
        stand_until_interrupted(send)

    crew = Crew([work])
    told.append(next(crew.messages())[1])
    assert crew.stop(wait_s=10) == []
    assert told == ["collecting"]
    assert capfd.readouterr() == ("", "")
