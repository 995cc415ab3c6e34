"""What a started process does before it becomes the application: cgroup, identity, exec.

Run as a script by the launcher (``python -I -S exec_child.py SPEC_FD STATUS_FD``), so it imports
the standard library only.  It is in the cgroup before the application's first instruction, and it
drops its identity only after that, because joining a cgroup takes the starter's rights.  The
application's environment comes in through ``SPEC_FD`` and not as this process's own: nothing in
it (``LD_PRELOAD`` …) acts before the identity is dropped.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)
GIVEN_UP = 125


def main(spec_fd: int, status_fd: int) -> int:
    """Becomes the application; returns only if that failed, after telling ``status_fd`` why.

    On success the status descriptor closes at exec without a byte; else it gets one JSON list
    ``[step, errno]`` with the step ``cgroup``, ``identity`` or ``exec``.
    """
    with os.fdopen(spec_fd, "rb") as file:
        spec = json.load(file)
    os.set_inheritable(status_fd, False)
    step = "cgroup"
    try:
        _join_cgroup(spec["cgroup_procs"])
        step = "identity"
        _become(spec)
        _die_with(spec["parent"])
        _await_go(spec["ready_fd"], spec["go_fd"])
        step = "exec"
        _restore_signals()
        _restore_limits(spec["open_files"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["environment"])
    except OSError as error:
        os.write(status_fd, json.dumps([step, error.errno or 0]).encode())
    return 127


def _join_cgroup(procs: str | None) -> None:
    if procs is not None:
        Path(procs).write_text(f"{os.getpid()}\n", encoding="ascii")


def _become(spec: dict[str, Any]) -> None:
    if spec["switches"]:
        os.setgroups(spec["groups"])
        os.setresgid(spec["gid"], spec["gid"], spec["gid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])


def _die_with(parent: int | None) -> None:
    """Asks the kernel to kill this process when its parent goes (a change of identity undoes it,

    so it comes after).  The parent may have gone already: then there is nobody to run for.
    """
    if parent is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _await_go(ready: int | None, go: int | None) -> None:
    """Says that it stands before its exec, and goes on when told to; ends if nobody will tell."""
    if ready is None or go is None:
        return
    os.write(ready, b"r")
    os.close(ready)
    if os.read(go, 1) == b"":
        os._exit(GIVEN_UP)
    os.close(go)


def _restore_signals() -> None:
    """Python ignores these, and ignored signals stay ignored across exec."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _restore_limits(open_files: int | None) -> None:
    """The starter may have raised its own."""
    if open_files is not None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
