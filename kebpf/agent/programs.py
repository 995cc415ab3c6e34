"""What runs in a process, as far as /proc tells: whose it is, and by which path it was started."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kebpf.kernel.processes import PROC

_ENDED_STATES = ("Z", "X")
_DELETED = " (deleted)"
_PARENT, _STARTED = 1, 19  # fields of /proc/PID/stat behind the name; proc(5)
_KTHREAD = 0x00200000
_FLAGS = 6
_TICKS = os.sysconf("SC_CLK_TCK")
#: They start something else, which is what counts.
WRAPPERS = frozenset(
    (
        *("sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "env", "nice", "ionice", "chrt"),
        *("sudo", "su", "runuser", "setpriv", "setuidgid", "gosu", "su-exec", "chpst", "softlimit"),
        *(
            "tini",
            "dumb-init",
            "docker-init",
            "catatonit",
            "numactl",
            "taskset",
            "stdbuf",
            "timeout",
        ),
        *("systemd", "systemd-executor", "runc", "crun", "containerd-shim", "unshare", "nsenter"),
    )
)
#: Nobody's service: what scripts call while they wait or look about.
HELPERS = frozenset(
    (
        *("sleep", "cat", "date", "test", "true", "false", "grep", "sed", "awk", "mkdir", "chown"),
        *("git", "curl", "wget", "nc", "id", "hostname", "tail", "ls", "rm", "cp", "mv", "chmod"),
    )
)
INTERPRETERS = ("python", "pypy", "node", "nodejs", "ruby", "perl", "php", "java", "deno", "bun")


@dataclass(frozen=True, slots=True)
class Program:
    """A process's program; ``started`` (ticks since boot) tells lives of one number apart."""

    pid: int
    parent: int
    started: int
    executable: str
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return PurePosixPath(self.executable).name

    @property
    def is_wrapper(self) -> bool:
        return self.name in WRAPPERS

    @property
    def counts(self) -> bool:
        """Whether it can be what a service is."""
        return not self.is_wrapper and self.name not in HELPERS

    @property
    def is_interpreter(self) -> bool:
        return self.name.startswith(INTERPRETERS)

    @property
    def started_ns(self) -> int:
        """On CLOCK_BOOTTIME, to a hundredth of a second."""
        return self.started * 1_000_000_000 // _TICKS

    def paths(self) -> list[str]:
        """Those it may be named by: its file's, what it was started by, an interpreter's script."""
        found = [self.executable]
        found += [word for word in self.words[:1] if word.startswith("/")]
        if self.is_interpreter:
            script = next((word for word in self.words[1:] if not word.startswith("-")), "")
            found += [os.path.normpath(Path(self.folder, script))] if script else []
        return found

    @property
    def folder(self) -> str:
        """Its working folder; empty when that cannot be read."""
        try:
            return os.fspath((PROC / str(self.pid) / "cwd").readlink())
        except OSError:
            return ""


def read_program(pid: int) -> Program | None:
    """``None`` when there is no such process, it has ended, or it is the kernel's own."""
    folder = PROC / str(pid)
    try:
        text = (folder / "stat").read_text(errors="replace")
        fields = text[text.rindex(")") + 2 :].split()
        if fields[0] in _ENDED_STATES or int(fields[_FLAGS]) & _KTHREAD:
            return None
        executable = os.fspath((folder / "exe").readlink()).removesuffix(_DELETED)
        command = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
    except (OSError, ValueError):
        return None
    words = tuple(word.decode("utf-8", "surrogateescape") for word in command)
    return Program(pid, int(fields[_PARENT]), int(fields[_STARTED]), executable, words)


def is_alive(pid: int, started: int) -> bool:
    """Whether the process that ``started`` then under this number has not ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return False
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0] not in _ENDED_STATES and int(fields[_STARTED]) == started


def list_executables() -> dict[int, str]:
    """Of all processes that may be looked into, by number."""
    found = {}
    with os.scandir(PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with suppress(OSError):
                    path = os.readlink(f"{entry.path}/exe")  # noqa: PTH115 - a Path takes thrice as long
                    found[int(entry.name)] = path.removesuffix(_DELETED)
    return found


def list_ancestors(pid: int) -> list[int]:
    """The parent, its parent and so on."""
    found: list[int] = []
    while pid > 1:
        program = read_program(pid)
        if program is None or program.parent in found:
            break
        pid = program.parent
        found.append(pid)
    return found
