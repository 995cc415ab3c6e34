"""Recording what programs say over TLS costs them nothing, whenever it begins and however it ends.

``KEBPF_TLS`` chooses programs as for the matrix, each of which is attached to twenty times; without
it there is the one whose stacks grow, four times.
"""

from __future__ import annotations

import dataclasses
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.processes import Process
from examples.recorder import start_recorder, stop_recorder
from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.tls import confine
from tests.e2e.tls.harness import Program
from tests.e2e.tls.load import Load
from tests.e2e.tls.rows import DEEP, ROWS, Row, choose_rows, is_asked_for
from tests.e2e.tls.services import Services

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(600),
]

TIMES = 20 if is_asked_for() else 4
WHILE_ATTACHED = 40  # requests
BETWEEN = 20
COMPLAINTS = re.compile(r"Traceback|panic|fatal error|Error:|\[(alert|emerg|crit)\]")
CONFINED = ("python-ssl", "python-aiohttp-uvloop", "node-https", "go-http", "gnutls-pycurl")


@contextmanager
def busy(row: Row, folder: Path) -> Iterator[tuple[Process, Load]]:
    """A row's program at work; at the end every answer was right, and it lives."""
    skip_unless_root()
    reason = row.why_not() or why_not()
    if reason is not None:
        pytest.skip(reason)
    with Services(folder, row.calls) as services:
        program = Program(row, services)
        with program.busy() as (process, load):
            yield process, load
            load.wait_for(BETWEEN)
            assert process.exit_status is None
        assert load.failures == []
    assert not [line for line in process.lines if COMPLAINTS.search(line)], process.tail()


def attach_and_detach(process: Process, load: Load, path: Path, number: int) -> None:
    """By Ctrl-C, every other time by force."""
    recorder = start_recorder(path, "--pid", str(process.pid))
    load.wait_for(WHILE_ATTACHED)
    if number % 2:
        assert recorder.stop(signal.SIGKILL) == -signal.SIGKILL
    else:
        stop_recorder(recorder)
    load.wait_for(BETWEEN)


@pytest.mark.parametrize(
    "row", [*(choose_rows() if is_asked_for() else []), DEEP], ids=lambda row: row.name
)
def test_attaching_and_detaching_costs_nothing(row: Row, tmp_path: Path) -> None:
    """Also where goroutines' stacks grow, and so move, while crypto/tls reads and writes."""
    with busy(dataclasses.replace(row, options=()), tmp_path) as (process, load):
        for number in range(TIMES):
            attach_and_detach(process, load, tmp_path / str(number), number)


def run_confined(action: str, number: int) -> int:
    """The status of a process under the filter that makes the system call of a number."""
    code = f"import ctypes; ctypes.CDLL(None).syscall({number})"
    words = [sys.executable, confine.__file__, action, sys.executable, "-c", code]
    return subprocess.run(words, check=False, timeout=60).returncode


needs_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="uretprobes are a system call on x86-64 only"
)


@needs_x86_64
@pytest.mark.parametrize("action", ["kill", "refuse"])
def test_filter_works(action: str) -> None:
    unknown, known = 400, 39  # 39: getpid
    assert run_confined(action, unknown) == (-signal.SIGSYS if action == "kill" else 0)
    assert run_confined(action, known) == 0


@needs_x86_64
@pytest.mark.parametrize("action", ["kill", "refuse"])
@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.name in (CONFINED if is_asked_for() else CONFINED[:1])],
    ids=lambda row: row.name,
)
def test_program_in_a_container_lives(row: Row, action: str, tmp_path: Path) -> None:
    """Under a filter that knows no uretprobe, and is in force."""
    wrapped = [sys.executable, confine.__file__, action, *row.start]
    with busy(dataclasses.replace(row, start=wrapped), tmp_path) as (process, load):
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        for number in range(2):
            attach_and_detach(process, load, tmp_path / str(number), number)
