"""Unix sockets the application listens on: whether they are free, and when it does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from kebpf.replay.launch import Application, LaunchError
from kebpf.replay.readiness import explain_exit

LOOK_S = 0.01
_LISTENS = 0x10000  # __SO_ACCEPTCON of /proc/net/unix


def check_free(paths: Sequence[str]) -> None:
    """Raises `LaunchError` for one that somebody serves.

    An application that begins to listen takes a path from whoever has it.
    """
    for path in paths:
        if path.startswith("/") and _is_served(path):
            raise LaunchError(
                f"somebody listens on unix:{path} already, and the application would take it away;"
                " end that first"
            )


async def wait_local(application: Application, paths: Sequence[str], timeout_s: float) -> None:
    """Waits until the application listens on every path.

    There is no event for that, so it is looked for.  Raises `LaunchError` if the application ends
    before, or does not listen in time.
    """
    missing = set(paths)
    try:
        async with asyncio.timeout(timeout_s):
            while missing := missing - _find_listening(application.pid):
                if application.status is not None:
                    raise await explain_exit(application, "before it listened")
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        names = ", ".join(f"unix:{path}" for path in sorted(missing))
        reason = f"the application did not listen on {names} within {timeout_s:g} s"
        raise LaunchError(reason, application.last_lines) from None


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def _find_listening(pid: int) -> set[str]:
    """The names of sockets that listen in a process's network namespace (proc(5))."""
    try:
        table = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    return {row[7] for row in rows if len(row) > 7 and int(row[3], 16) & _LISTENS}
