"""A confined process, as the kernel shows it and treats it."""

from __future__ import annotations

import ctypes
import mmap
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kebpf.kernel.errors import KernelError
from kebpf.kernel.sandbox import ConfinedError, Sandbox, run_confined
from kebpf.kernel.syscalls import JUDGED, KILLED

pytestmark = pytest.mark.kernel

NOBODY = Sandbox("nobody")
COLUMN = 0 if os.uname().machine == "x86_64" else 1


def call(number: int, *arguments: int) -> int:
    """The error of a system call, 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(one) for one in arguments]
    return 0 if libc.syscall(ctypes.c_long(number), *words) >= 0 else ctypes.get_errno()


def test_what_the_kernel_says_of_it() -> None:
    status: dict[str, str] = run_confined(NOBODY, read_status)
    entry = pwd.getpwnam("nobody")
    assert status["Uid"].split() == [str(entry.pw_uid)] * 4
    assert status["Gid"].split() == [str(entry.pw_gid)] * 4
    assert status["Groups"] == ""
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")


def read_status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_holds_nothing_it_was_not_given() -> None:
    with socket.socket() as secret, Path(sys.executable).open("rb"):
        open_ones: list[int] = run_confined(NOBODY, lambda: list_open(secret.fileno()))
    assert open_ones == [0, 1, 2], "and what it answers on"


def list_open(secret: int) -> list[int]:
    found = []
    for descriptor in range(max(256, secret + 1)):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found[:-1]


def test_it_leaves_no_core_and_cannot_be_looked_into() -> None:
    limits, dumpable = run_confined(
        NOBODY,
        lambda: (resource.getrlimit(resource.RLIMIT_CORE), Path("/proc/self/fd").stat().st_uid),
    )
    assert (limits, dumpable) == ([0, 0], 0), "what cannot be dumped belongs to root in /proc"


@pytest.mark.parametrize("name", sorted(KILLED))
def test_what_no_parser_calls_ends_it(name: str) -> None:
    number = KILLED[name][COLUMN]
    if number is None:
        pytest.skip("no such call on this machine")
    with pytest.raises(ConfinedError, match="was ended by SIGSYS"):
        run_confined(NOBODY, lambda: call(number, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: os.execv("/bin/true", ["true"]),
        lambda: open_socket(socket.AF_INET),
        lambda: open_socket(socket.AF_PACKET),
    ],
    ids=["execv", "internet", "packets"],
)
def test_becoming_or_calling_another_ends_it(attempt: Callable[[], object]) -> None:
    with pytest.raises(ConfinedError, match="was ended by SIGSYS"):
        run_confined(NOBODY, attempt)


def open_socket(family: int) -> None:
    socket.socket(family, socket.SOCK_RAW).close()


@pytest.mark.parametrize(
    "attempt",
    [
        os.fork,
        lambda: os.kill(os.getppid(), 0),
        lambda: socket.socketpair(),
        lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        lambda: Path("/tmp/kebpf-no-such").symlink_to("/etc/passwd"),
        lambda: os.chown("/tmp", 0, 0),
        lambda: os.memfd_create("code"),
    ],
    ids=["fork", "kill", "socketpair", "code", "symlink", "chown", "memfd"],
)
def test_what_else_is_refused(attempt: Callable[[], object]) -> None:
    with pytest.raises(ConfinedError, match=r"PermissionError.*Operation not permitted"):
        run_confined(NOBODY, attempt)


def test_memory_that_is_there_cannot_become_code() -> None:
    number = JUDGED["mprotect"][COLUMN]
    assert number is not None

    def make_code() -> int:
        block = mmap.mmap(-1, 4096)
        at = ctypes.addressof(ctypes.c_char.from_buffer(block))
        return call(number, at, 4096, mmap.PROT_READ | mmap.PROT_EXEC)

    assert run_confined(NOBODY, make_code) == 1


def test_files_of_others_stay_theirs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ConfinedError, match="PermissionError"):
        run_confined(NOBODY, (tmp_path / "secret").read_text)


def test_what_it_may_do_it_can() -> None:
    assert run_confined(NOBODY, lambda: {"a": [1, "b", None]}) == {"a": [1, "b", None]}
    with pytest.raises(ConfinedError, match=r"^ZeroDivisionError: .* by zero$"):
        run_confined(NOBODY, lambda: 1 // 0)
    with pytest.raises(ConfinedError, match="was ended by SIGABRT"):
        run_confined(NOBODY, os.abort)
    with pytest.raises(ConfinedError, match="was ended by SIGKILL"):
        run_confined(NOBODY, lambda: signal.raise_signal(signal.SIGKILL))


@pytest.mark.parametrize(
    ("name", "said"),
    [("no-such-user", "there is no user 'no-such-user', as whom"), ("root", "'root' is root")],
)
def test_whom_it_cannot_become(name: str, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        run_confined(Sandbox(name), lambda: None)
