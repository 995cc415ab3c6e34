"""Control groups, version 2: where they are mounted, and one of our own for a test run."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kebpf.kernel.errors import KernelError

MOUNTINFO = Path("/proc/self/mountinfo")
_PREFIX = "kebpf-test-"


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A control group by its folder."""

    path: Path


def find_cgroup2_mount(mountinfo: Path = MOUNTINFO) -> Path:
    """Where the version 2 hierarchy is, in hybrid layouts too.  Raises `KernelError`."""
    for line in mountinfo.read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ", 1)[0] == "cgroup2":
            return Path(fields.split()[4].encode().decode("unicode_escape"))
    raise KernelError(
        "no version 2 control groups are mounted here",
        "mount them: `mount -t cgroup2 none /sys/fs/cgroup/unified` (or boot with "
        "systemd.unified_cgroup_hierarchy=1)",
    )


def find_level(cgroup: Path) -> int:
    """How deep a group lies below the root of its hierarchy (the root itself: 0)."""
    mount = find_cgroup2_mount()
    inside = cgroup.resolve().relative_to(mount.resolve())
    return len(inside.parts) + len(_mount_root().parts) - 1


def _mount_root() -> Path:
    """The group that the mount shows as its root (not ``/`` within a container)."""
    for line in MOUNTINFO.read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            root = Path(fields.split()[3])
            return root if root.is_absolute() and ".." not in root.parts else Path("/")
    return Path("/")


@contextlib.contextmanager
def make_cgroup() -> Iterator[Cgroup]:
    """A new group, removed at the end with whatever still runs in it.  Raises `KernelError`."""
    parent = find_cgroup2_mount()
    folder = parent / f"{_PREFIX}{os.getpid()}"
    number = 0
    while folder.exists():
        number += 1
        folder = parent / f"{_PREFIX}{os.getpid()}-{number}"
    try:
        folder.mkdir()
    except OSError as error:
        raise KernelError(
            f"a control group cannot be made in {parent}: {error.strerror}",
            "run as root; in a container, give it a writable cgroup",
        ) from None
    try:
        yield Cgroup(folder)
    finally:
        remove_cgroup(folder)


def remove_cgroup(folder: Path) -> None:
    """Ends every process of the group, waits until it is empty, removes it."""
    with contextlib.suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
    _wait_empty(folder)
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _wait_empty(folder: Path, seconds: float = 5.0) -> None:
    """Waits for ``populated 0`` in cgroup.events, which the kernel signals by POLLPRI."""
    with contextlib.suppress(FileNotFoundError), (folder / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI | select.POLLERR)
        for _ in range(50):
            events.seek(0)
            if "populated 0" in events.read():
                return
            poll.poll(seconds * 20)
