"""Control groups, version 2: where they are mounted, and one of our own for a test run."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kebpf.kernel.errors import KernelError

MOUNTINFO = Path("/proc/self/mountinfo")
_PREFIX = "kebpf-test-"
_EMPTYING_SECONDS = 5.0
_STALE_SECONDS = 60.0  # a run of another container may be about to use a younger one
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A control group by its folder."""

    path: Path


def find_cgroup2_mount(mountinfo: Path = MOUNTINFO) -> Path:
    """Where the version 2 hierarchy is, in hybrid layouts too; proc(5).  Raises `KernelError`."""
    for line in mountinfo.read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ", 1)[0] == "cgroup2":
            return Path(unescape_mount(fields.split(" ")[4]))
    raise KernelError(
        "no version 2 control groups are mounted here",
        "mount them: `mount -t cgroup2 none /sys/fs/cgroup/unified` (or boot with "
        "systemd.unified_cgroup_hierarchy=1)",
    )


def unescape_mount(field: str) -> str:
    """A field of mountinfo with its octal escapes undone; proc(5)."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


@contextlib.contextmanager
def make_cgroup() -> Iterator[Cgroup]:
    """A new group, removed at the end with whatever still runs in it.  Raises `KernelError`."""
    parent = find_cgroup2_mount()
    _remove_stale(parent)
    folder = _make_folder(parent)
    try:
        yield Cgroup(folder)
    finally:
        remove_cgroup(folder)


def remove_cgroups_of(pid: int) -> None:
    """Removes the groups that a process made which was killed, with what still runs in them.

    Raises `KernelError`.
    """
    parent = find_cgroup2_mount()
    for folder in (parent / f"{_PREFIX}{pid}", *parent.glob(f"{_PREFIX}{pid}-*")):
        remove_cgroup(folder)


def _remove_stale(parent: Path) -> None:
    """Removes empty groups of runs that were killed; a group with processes cannot be removed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        maker = folder.name.removeprefix(_PREFIX).partition("-")[0]
        is_gone = maker.isdigit() and not Path("/proc", maker).exists()
        with contextlib.suppress(OSError):
            if is_gone and time.time() - folder.stat().st_ctime > _STALE_SECONDS:
                folder.rmdir()


def _make_folder(parent: Path) -> Path:
    number = 0
    while True:
        folder = parent / f"{_PREFIX}{os.getpid()}{f'-{number}' if number else ''}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise KernelError(
                f"a control group cannot be made in {parent}: {error.strerror}",
                "run as root, or with --rootless; in a container, give it a writable cgroup",
            ) from None
        else:
            return folder


def remove_cgroup(folder: Path) -> None:
    """Ends every process of the group and of those below it, then removes them all.

    Raises `KernelError` when the kernel does not let it go.
    """
    if not folder.is_dir():
        return
    _kill_processes(folder)
    try:
        for below in sorted(folder.rglob("*/"), reverse=True):
            below.rmdir()
        folder.rmdir()
    except OSError as error:
        raise KernelError(
            f"the control group {folder} cannot be removed: {error.strerror}",
            f"see which processes are in it with `cat {folder}/cgroup.procs`",
        ) from None


def _kill_processes(folder: Path) -> None:
    """Waits until none is left: ``populated 0`` in cgroup.events, which POLLPRI announces."""
    deadline = time.monotonic() + _EMPTYING_SECONDS
    with (folder / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI | select.POLLERR)
        while time.monotonic() < deadline:
            events.seek(0)
            if "populated 0" in events.read():
                return
            _kill_once(folder)
            poll.poll(100)


def _kill_once(folder: Path) -> None:
    try:
        (folder / "cgroup.kill").write_text("1")
    except OSError:  # Linux 5.14 and newer have it
        for procs in (folder / "cgroup.procs", *folder.rglob("*/cgroup.procs")):
            for pid in procs.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
