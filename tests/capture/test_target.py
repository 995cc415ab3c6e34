"""What may be recorded: real processes, and a sentence for each that may not."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.capture import target as module
from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.capture.target import Target, check_process, refresh_target, resolve_target
from kebpf.kernel.processes import (
    ProcessFacts,
    is_running,
    list_processes,
    read_process,
    threads_to_thread_group,
)
from tests.kernel.test_processes import hold, read_line


def make_gone() -> int:
    """The number of a process that was there."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_process_that_is_not_there() -> None:
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    for pid in (limit + 1, make_gone()):
        with pytest.raises(NoTargetError, match=f"there is no process {pid}: find the right one"):
            resolve_target([pid])


def test_a_process_that_has_ended() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NoTargetError, match=f"process {child} .* has ended already"):
        resolve_target([child])
    os.waitpid(child, 0)


def find_kernel_thread() -> int:
    """PF_KTHREAD by ps(1): no command line and a child of kthreadd, or kthreadd itself."""
    text = subprocess.run(["ps", "-eo", "pid=,comm=,ppid="], capture_output=True, text=True).stdout
    for line in text.splitlines():
        if match := re.fullmatch(r"\s*(\d+) (.*) (\d+)", line):
            pid, name, parent = int(match[1]), match[2].strip(), int(match[3])
            if (name == "kthreadd" and parent == 0) or parent == 2:
                return pid
    raise AssertionError("every Linux host has kernel threads")


def test_a_kernel_thread() -> None:
    pid = find_kernel_thread()
    with pytest.raises(TargetError, match=f"process {pid} .* is a kernel thread") as raised:
        resolve_target([pid])
    assert not isinstance(raised.value, NoTargetError)


def test_kebpf_itself() -> None:
    with pytest.raises(TargetError, match="is this kebpf itself"):
        resolve_target([os.getpid()])


@pytest.mark.parametrize(
    ("words", "is_refused"),
    [
        (["sudo", "kebpf", "record"], True),
        (["/usr/bin/python3", "/opt/kebpf/bin/kebpf", "record"], True),
        (["-bash"], False),
        (["make", "demo"], False),
    ],
)
def test_what_started_kebpf(
    monkeypatch: pytest.MonkeyPatch, words: list[str], is_refused: bool
) -> None:
    """sudo above it is kebpf too, the shell above that is not."""
    parent = os.getppid()

    def read(pid: int) -> ProcessFacts:
        facts = read_process(pid)
        name, command = Path(words[0]).name, words
        return ProcessFacts(pid, facts.parent, name, command, "", False) if pid == parent else facts

    monkeypatch.setattr(module, "read_process", read)
    if is_refused:
        with pytest.raises(TargetError, match="is this kebpf itself"):
            check_process(parent)
    else:
        assert check_process(parent).command == words


def test_a_thread_stands_for_its_process() -> None:
    code = (
        "import sys, threading;"
        "t = threading.Thread(target=lambda: (print(threading.get_native_id(), flush=True),"
        " sys.stdin.read())); t.start(); t.join()"
    )
    with hold(code) as process:
        thread = int(read_line(process))
        assert thread != process.pid
        assert threads_to_thread_group(thread) == process.pid
        target = resolve_target([thread])
        assert target.facts.pid == process.pid
        assert target.pids == [process.pid]


def test_a_number_of_nothing_stays_what_it_is() -> None:
    gone = make_gone()
    assert threads_to_thread_group(gone) == gone


LISTEN = (
    "import socket, subprocess, sys;"
    "l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname());"
    "a = l.accept()[0]; child = subprocess.Popen(['sleep', '60']);"
    "print(l.getsockname()[1], child.pid, flush=True); sys.stdin.read(); child.kill(); child.wait()"
)


def test_a_service_with_all_that_belongs_to_it() -> None:
    with hold(LISTEN) as process:
        port, child = map(int, read_line(process).split())
        target = resolve_target([process.pid])
        assert target.facts.command[0] == sys.executable
        assert target.pids == [process.pid, child]
        assert target.listening == [port]
        assert target.open_connections == 2
        assert len(target.sockets) == 3
        again = resolve_target([child, process.pid])
        assert again.facts.name == "sleep"
        assert again.pids == [child, process.pid]


def test_looking_again_finds_what_came_and_forgets_what_went() -> None:
    code = "import subprocess, sys; subprocess.run(['sleep', '60']); print('x', flush=True)"
    with hold(code) as process:
        target = resolve_target([process.pid])
        while len(target.pids) < 2:
            refresh_target(target)
        child = target.pids[1]
        os.kill(child, 9)
        process.wait()
        refresh_target(target)
        assert target.pids == []
        assert not is_running(child)


def test_this_process_is_never_among_the_targets() -> None:
    """A shell that is recorded has kebpf among its descendants."""
    parent = os.getppid()
    with socket.create_server(("127.0.0.1", 0)):
        target = resolve_target([parent])
        assert os.getpid() not in target.pids
        assert parent in target.pids
    assert os.getpid() in list_processes()


def test_what_was_asked_for_is_said() -> None:
    facts = read_process(os.getpid())
    assert Target(facts, [11]).describe() == "process 11"
    assert Target(facts, [11, 12]).describe() == "processes 11, 12"
    assert Target(facts, [], title="unit shop.service").describe() == "unit shop.service"
    started = Target(facts, [11], origin="a command, from its start")
    assert started.describe() == "a command, from its start"
