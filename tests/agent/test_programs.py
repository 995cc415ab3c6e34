"""What runs in a process, against processes that were started for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kebpf.agent.programs import is_alive, list_ancestors, list_executables, read_program
from tests.agent.builders import WAITING, WAITING_IN_SHELL, make_program, running


def test_a_program_by_its_file_its_words_and_its_script(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(WAITING)
    with running(sys.executable, "-u", "app.py", "x", folder=tmp_path) as program:
        assert program.words == (sys.executable, "-u", "app.py", "x")
        assert program.parent == os.getpid()
        assert program.is_interpreter and program.counts
        assert program.paths() == [os.path.realpath(sys.executable), sys.executable, str(script)]
        assert list_executables()[program.pid] == program.executable
        assert list_ancestors(program.pid)[0] == os.getpid()
        assert is_alive(program.pid, program.started)
        assert not is_alive(program.pid, program.started + 1)
    assert read_program(program.pid) is None
    assert not is_alive(program.pid, program.started)


def test_a_file_that_was_replaced_is_known_by_its_name(tmp_path: Path) -> None:
    copy = tmp_path / "shop"
    shutil.copy("/bin/sh", copy)
    with running(copy, "-c", WAITING_IN_SHELL) as program:
        copy.unlink()
        again = read_program(program.pid)
        assert again is not None and again.executable == str(copy)


def test_neither_kernel_threads_nor_zombies_are_programs() -> None:
    assert read_program(2) is None or 2 not in list_executables()
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_program(process.pid) is None


def test_what_starts_others_or_waits_is_nobodys_service() -> None:
    kinds = {
        "/bin/dash": False,
        "/usr/bin/tini": False,
        "/bin/sleep": False,
        "/usr/sbin/nginx": True,
        "/usr/bin/python3.11": True,
    }
    assert {path: make_program(executable=path).counts for path in kinds} == kinds
