"""Has the application live in the time of the recording: ``--clock recorded``, by libfaketime.

The library moves CLOCK_REALTIME by a constant.  It cannot leave the monotonic clock alone and get
every way of waiting right: ``clock_nanosleep`` until a monotonic instant counts from its faked real
time, which is CPython's ``time.sleep``; and with the monotonic clock faked as well it does not know
``sem_clockwait``, by which CPython's locks time out.  In a time namespace whose monotonic clock
says the same as the faked real one both come out right, in every runtime.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kebpf.replay.executables import why_no_library
from kebpf.replay.launch import LaunchError

SECOND_NS = 1_000_000_000
_NAME = "libfaketimeMT.so.1"  # the one for programs with threads
_FOLDERS = (
    f"/usr/lib/{platform.machine()}-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
)


@dataclass(frozen=True, slots=True)
class RecordedClock:
    """The application's clock is behind the real one by ``-offset_ns``, all the run long."""

    offset_ns: int
    library: Path

    def now_ns(self) -> int:
        """What the application's clock says, nanoseconds since 1970."""
        return time.time_ns() + self.offset_ns

    def extend(self, environment: dict[str, str]) -> dict[str, str]:
        """An application's environment, with what loads the library in addition."""
        seconds, rest = divmod(abs(self.offset_ns), SECOND_NS)
        sign = "-" if self.offset_ns < 0 else "+"
        preloaded = [str(self.library), environment.get("LD_PRELOAD", "")]
        return {
            **environment,
            "LD_PRELOAD": " ".join(filter(None, preloaded)),
            "FAKETIME": f"{sign}{seconds}.{rest:09}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # files are as old as they were
        }

    def check(self, pids: Iterable[int]) -> None:
        """Raises `LaunchError` if a process of the application goes by the real clock."""
        for pid in pids:
            executable = Path(f"/proc/{pid}/exe")
            with contextlib.suppress(OSError):
                reason = why_no_library(executable)
                if reason is None and not self._is_loaded(pid):
                    reason = "did not load libfaketime"
                if reason is not None:
                    raise _refuse(executable.readlink().name, reason)

    def _is_loaded(self, pid: int) -> bool:
        mapped = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        return self.library.name in mapped


def make_recorded_clock(start_ns: int, executable: Path | None) -> RecordedClock:
    """Says ``start_ns`` now; ``executable`` is the program to be started, if it is known.

    Raises `LaunchError` where libfaketime is not installed, or cannot act on the program.
    """
    reason = None if executable is None else why_no_library(executable)
    if executable is not None and reason is not None:
        raise _refuse(executable.name, reason)
    return RecordedClock(start_ns - time.time_ns(), find_library())


def find_library(folders: Iterable[str] = _FOLDERS) -> Path:
    """Raises `LaunchError`."""
    for folder in folders:
        path = Path(folder) / _NAME
        if path.exists():
            return path
    raise LaunchError(
        "--clock recorded needs libfaketime, which is not installed"
        " (Debian, Ubuntu: apt-get install libfaketime; Fedora: dnf install libfaketime)"
    )


def _refuse(name: str, reason: str) -> LaunchError:
    return LaunchError(f"--clock recorded cannot be had: {name} {reason}; use --clock real")
