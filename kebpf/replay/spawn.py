"""Makes the process that becomes the application, and hears from it whether it did."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kebpf.kernel.members import Network
from kebpf.kernel.mounts import covered
from kebpf.kernel.timens import shifted_monotonic
from kebpf.replay import exec_child
from kebpf.replay.invoker import Invoker
from kebpf.replay.limits import get_given_files
from kebpf.replay.processes import Group
from kebpf.replay.stages import Clock

STATUS_SIZE_LIMIT = 4096

_EXEC_FAILURES = {
    errno.ENOENT: "was not found",
    errno.ENOTDIR: "was not found",
    errno.EACCES: "is not executable for {user}",
    errno.ENOEXEC: "is not a program (a script needs a #! line)",
    errno.E2BIG: "has too long a command line or environment",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start and how.

    A ``command`` that is one string is given to ``/bin/sh -c``.  With ``captures_output`` the
    output goes to the tail, to ``log_file`` and to ``on_line``; without, to where this process
    writes, and with ``keeps_stdout`` all of it to standard error.  ``dies_with_us`` has the kernel
    end the application's main process when this one dies, however it dies: wanted for a test,
    never for a recording.  ``before_exec`` is awaited with the process's number while it stands
    just before its exec (for probes to be attached).  With ``clock`` it lives in another time;
    ``files`` are what it finds in place of the files (or sockets) at these paths, or their
    contents; ``variables`` are added to its environment.
    """

    command: str | Sequence[str]
    invoker: Invoker
    group: Group | None = None
    captures_output: bool = True
    keeps_stdout: bool = False
    log_file: Path | None = None
    on_line: Callable[[str], None] | None = None
    dies_with_us: bool = False
    before_exec: Callable[[int], Awaitable[None]] | None = None
    clock: Clock | None = None
    files: Mapping[Path, Path | bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The application's."""
        own = {**self.invoker.environment, **self.variables}
        return own if self.clock is None else self.clock.extend(own)

    @property
    def arguments(self) -> list[str]:
        """The argument vector."""
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", self.command]
        return list(self.command)


@dataclass(slots=True)
class Pipes:
    """The descriptors between the starter and the child; ``None`` where none is wanted."""

    status_read: int
    status_write: int
    output_read: int | None = None
    output_write: int | None = None
    ready_read: int | None = None
    ready_write: int | None = None
    go_read: int | None = None
    go_write: int | None = None

    @classmethod
    def open(cls, launch: Launch) -> Pipes:
        """The pipes that ``launch`` asks for."""
        pipes = cls(*os.pipe2(os.O_CLOEXEC))
        if launch.captures_output:
            pipes.output_read, pipes.output_write = os.pipe2(os.O_CLOEXEC)
        if launch.before_exec is not None:
            # no socket: the probes may watch the child by now
            pipes.ready_read, pipes.ready_write = os.pipe2(os.O_CLOEXEC)
            pipes.go_read, pipes.go_write = os.pipe2(os.O_CLOEXEC)
        return pipes

    def close_theirs(self) -> None:
        """Closes the child's ends."""
        _close_all(self.status_write, self.output_write, self.ready_write, self.go_read)

    def close_ours(self) -> None:
        """Closes the starter's ends."""
        _close_all(self.status_read, self.output_read, self.ready_read, self.go_write)


def _close_all(*descriptors: int | None) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)


def _name_procs(group: Group | None) -> str | None:
    """The file by which a process joins its group; a network it is in already."""
    if group is None or isinstance(group, Network):
        return None
    return str(group.path / "cgroup.procs")


def _write_spec(launch: Launch, pipes: Pipes) -> int:
    """What `exec_child` reads, in a file that exists in memory only."""
    invoker = launch.invoker
    spec = {
        "argv": launch.arguments,
        "environment": launch.environment,
        "cgroup_procs": _name_procs(launch.group),
        "switches": invoker.switches,
        "uid": invoker.uid,
        "gid": invoker.gid,
        "groups": list(invoker.groups),
        "parent": os.getpid() if launch.dies_with_us else None,
        "ready_fd": pipes.ready_write,
        "go_fd": pipes.go_read,
        "open_files": get_given_files(),
    }
    descriptor = os.memfd_create("kebpf-launch")
    os.write(descriptor, json.dumps(spec).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def start_child(launch: Launch, pipes: Pipes) -> subprocess.Popen[bytes]:
    """Starts the child as the leader of a session of its own.

    Raises ``OSError``, and `KernelError` where its clock cannot be another one.
    """
    spec = _write_spec(launch, pipes)
    wanted = (spec, pipes.status_write, pipes.ready_write, pipes.go_read)
    inherited = [descriptor for descriptor in wanted if descriptor is not None]
    child = [exec_child.__file__, str(spec), str(pipes.status_write)]
    clock = launch.clock
    try:
        with ExitStack() as stack:
            if launch.files:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="kebpf-"))
                stack.enter_context(covered(launch.files, Path(scratch)))
            if clock is not None:
                stack.enter_context(shifted_monotonic(clock.now_ns()))
            return subprocess.Popen(
                [sys.executable, "-I", "-S", *child],
                stdin=subprocess.DEVNULL if launch.captures_output else None,
                stdout=sys.stderr.fileno() if launch.keeps_stdout else pipes.output_write,
                stderr=pipes.output_write,
                env={"LC_ALL": "C.UTF-8"},
                pass_fds=inherited,
                start_new_session=True,
            )
    finally:
        os.close(spec)


def read_status(status: BinaryIO) -> tuple[str, int] | None:
    """Waits for the exec: ``None`` if it was done, else the step that failed and its errno."""
    data = status.read(STATUS_SIZE_LIMIT)
    if not data:
        return None
    step, number = json.loads(data)
    return str(step), int(number)


def explain_failure(launch: Launch, step: str, number: int) -> str:
    """A failed step in one sentence."""
    if step == "cgroup":
        return f"the application could not be put into its cgroup: {os.strerror(number)}"
    if step == "identity":
        return f"the application cannot run as {launch.invoker.user}: {os.strerror(number)}"
    what = _EXEC_FAILURES.get(number, f"could not be started: {os.strerror(number)}")
    return f"the command {launch.arguments[0]} " + what.format(user=launch.invoker.user)
