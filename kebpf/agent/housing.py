"""Where sets are kept: whose their folders are, and how much of the disk they may take."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from kebpf.agent.journal import Journal
from kebpf.agent.watching import TargetWatch
from kebpf.kernel.errors import KernelError
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.quota import QuotaKeeper, choose_headroom

DEFAULT_USER = "kebpf"
_LOOK_SECONDS = 0.5
_LEAST_SET_SECONDS = 10.0  # a set is not ended oftener than that to make room


class HousingError(Exception):
    """There is no place for sets; the text is one sentence."""


def choose_sandbox(user: str | None, journal: Journal) -> Sandbox | None:
    """As whom is parsed what was recorded.  Raises `HousingError`: there is no such ``user``."""
    sandbox = Sandbox(user or DEFAULT_USER)
    try:
        sandbox.find_ids()
    except KernelError as error:
        if user is not None:
            raise HousingError(str(error)) from error
        journal.warn(f"{error}: it is parsed as root, unconfined; {error.hint}")
        return None
    return sandbox


def make_target_folder(folder: Path, sandbox: Sandbox | None) -> None:
    """For the sets of one target; what stands in the way is for its recorders to say."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if sandbox is not None and folder.is_dir():
            os.chown(folder, *sandbox.find_ids(), follow_symlinks=False)
    except (OSError, KernelError):
        return


class Disk:
    """Keeps all sets below a number of bytes, ``None`` for any."""

    def __init__(self, output: Path, quota: int | None, journal: Journal) -> None:
        self._output = output
        self._keeper = None if quota is None else QuotaKeeper(quota, choose_headroom(quota))
        self._journal = journal
        self._next_look = self._next_end = 0.0
        self._said: set[str] = set()

    def look(self, watches: Collection[TargetWatch]) -> bool:
        """To be called often: drops the oldest sets; whether sets were ended to make room."""
        now = time.monotonic()
        if self._keeper is None or now < self._next_look:
            return False
        self._next_look = now + _LOOK_SECONDS
        folders = [one for one in self._output.glob("[!.]*") if one.is_dir()]
        usage = self._keeper.look(folders)
        for path in usage.dropped:
            self._journal.info(f"{path} was dropped: the sets may take {usage.quota:,} bytes")
        for problem in usage.problems:
            if problem not in self._said:
                self._said.add(problem)
                self._journal.warn(problem)
        if not usage.must_end or now < self._next_end:
            return False
        self._next_end = now + _LEAST_SET_SECONDS
        for watch in watches:
            watch.begin_anew()
        self._journal.notice("the sets being recorded take all the disk they may: new ones begin")
        return True
