"""Makes sets of recordings that were cut off, beside the loop and as the user they belong to."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kebpf.agent.link import Link, LinkClosedError, Message, make_links
from kebpf.kernel.errors import KernelError
from kebpf.kernel.sandbox import ConfinedError, Sandbox, run_confined
from kebpf.recording.recovery import recover_all

_AGAIN_SECONDS = 60.0  # a set whose process still finishes it by itself is not cut off yet


class Recoverer:
    """One folder after the other; ``release`` is as for a recorder process."""

    def __init__(self, sandbox: Sandbox | None, release: Callable[[], None]) -> None:
        self._sandbox = sandbox
        self._release = release
        self._due: dict[Path, float] = {}
        self._pid = 0
        self._link: Link | None = None

    def ask(self, folder: Path, seconds: float = 0.0) -> None:
        """Has a folder of sets looked at, after so long."""
        due = time.monotonic() + seconds
        self._due[folder] = min(due, self._due.get(folder, due))

    def look(self) -> list[str]:
        """To be called often: sentences on what was recovered, and what could not be."""
        if self._link is not None:
            return self._hear(self._link)
        now = time.monotonic()
        folder = next((folder for folder, due in self._due.items() if due <= now), None)
        if folder is not None:
            del self._due[folder]
            self._start(folder)
        return []

    def close(self) -> None:
        """Waits for what is under way: it may be cut off, but what for."""
        if self._link is not None:
            select.select([self._link], [], [], _AGAIN_SECONDS)
            self._end(self._link)

    def release(self) -> None:
        """In another process: closes the copy there."""
        if self._link is not None:
            self._link.release()

    def _hear(self, link: Link) -> list[str]:
        try:
            messages = link.receive()
        except LinkClosedError:
            self._end(link)
            return ["a process that was to recover sets has ended early"]
        if not messages:
            return []
        self._end(link)
        [message] = messages
        if message["problems"]:
            self.ask(Path(message["folder"]), _AGAIN_SECONDS)
        return [*message["recovered"], *message["problems"]]

    def _end(self, link: Link) -> None:
        link.close()
        self._link = None
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _start(self, folder: Path) -> None:
        ours, theirs = make_links()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                ours.release()
                self._release()
                with suppress(LinkClosedError):
                    theirs.send(_recover(self._sandbox, folder))
            finally:
                os._exit(0)
        theirs.release()
        self._link = ours


def _recover(sandbox: Sandbox | None, folder: Path) -> Message:
    found: dict[str, Any]
    try:
        if sandbox is None:
            found = asdict(recover_all(folder), dict_factory=_plain)
        else:
            found = run_confined(sandbox, lambda: asdict(recover_all(folder), dict_factory=_plain))
    except (KernelError, ConfinedError) as error:
        found = {"recovered": [], "problems": [f"{folder} cannot be looked at: {error}"]}
    return {
        "folder": str(folder),
        "recovered": [
            f"{one['folder']} was cut off: {one['cases']} test cases and {one['mocks']} mocks "
            "were complete, and are kept"
            for one in found["recovered"]
        ],
        "problems": found["problems"],
    }


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """As JSON holds it."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in pairs}
