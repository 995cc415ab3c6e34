"""New programs as the kernel tells them, against programs that are started."""

from __future__ import annotations

import select
import subprocess
import sys
import time

import pytest

from kebpf.kernel.execs import Exec, ExecWatch

pytestmark = pytest.mark.kernel

PATIENCE_SECONDS = 10.0


def await_exec(watch: ExecWatch, pid: int) -> Exec:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        select.select([watch], [], [], PATIENCE_SECONDS)
        found, are_all = watch.look()
        assert are_all
        for one in found:
            if one.pid == pid:
                return one
    raise AssertionError(f"nothing was told of process {pid}")


def test_a_program_is_told_with_its_process_and_time() -> None:
    watch = ExecWatch()
    try:
        before = time.monotonic_ns()
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
            one = await_exec(watch, process.pid)
            assert before < one.time_ns < time.monotonic_ns()
    finally:
        watch.close()


def test_neither_forks_nor_threads_nor_ends_are_told() -> None:
    script = (
        "import os, threading\nos.fork() or os._exit(0)\nos.wait()\n"
        "threading.Thread(target=str).start()"
    )
    watch = ExecWatch()
    try:
        with subprocess.Popen([sys.executable, "-c", script]) as process:
            process.wait()
            with subprocess.Popen(["/bin/true"]) as last:
                await_exec(watch, process.pid)
                found, _ = watch.look()
                assert process.pid not in [one.pid for one in found]
                assert last.pid
    finally:
        watch.close()
