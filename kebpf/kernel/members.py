"""The processes of a network namespace: who they are, and ending them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

from kebpf.kernel.processes import list_processes

KILL_SECONDS = 5.0
KILL_STEP_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace by its inode.

    ``others`` are the processes in it that are not the application's: kebpf and its helpers.
    Nobody leaves a network by ``setsid`` or a double fork.  ``is_intercepted`` is false where only
    a socket bound to a destination gets what is sent there.
    """

    inode: int
    others: frozenset[int] = frozenset()
    is_intercepted: bool = True

    def find_members(self) -> list[int]:
        """The application's processes that are alive now: zombies are in no namespace."""
        name = f"net:[{self.inode}]"
        return [pid for pid in list_processes() if pid not in self.others and _is_in(pid, name)]

    def kill_members(self, timeout_s: float = KILL_SECONDS) -> None:
        """Ends them, also those that come meanwhile, until none is left."""
        deadline = time.monotonic() + timeout_s
        while (members := self.find_members()) and time.monotonic() < deadline:
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(KILL_STEP_SECONDS)


def _is_in(pid: int, namespace: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == namespace  # noqa: PTH115 - thrice as fast
    except OSError:  # gone, or somebody else's
        return False
