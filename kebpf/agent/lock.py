"""Keeps a second agent from starting beside the first: a lock that goes with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class SecondAgentError(Exception):
    """Another agent runs; the text is one sentence."""


class AgentLock:
    """Held from when it is made until `release`.

    Raises `SecondAgentError`, and ``OSError`` where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        opening = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, opening, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            who = f" (process {holder})" if holder.isdecimal() else ""
            raise SecondAgentError(
                f"another kebpf agent runs already{who}: end it, or reload it with SIGHUP"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Closes this process's copy: the lock is the others' who have one, or nobody's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
