"""Puts other files where started processes look for theirs: mounts that nobody else sees.

See mount_namespaces(7).  The host's files are not touched: where a folder is missing on the way to
a path, the nearest one that exists is covered as well, by an overlay of itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kebpf.kernel.bpf import libc
from kebpf.kernel.errors import KernelError
from kebpf.kernel.namespaces import (
    CLONE_NEWNS,
    MS_BIND,
    MS_REC,
    make_mounts_private,
    mount,
    unshare,
)

_FOR_ALL = 0o644
MOST_MIRRORED = 2000  # entries of a folder, each of which takes a mount
_OWN_NAMESPACE = "/proc/thread-self/ns/mnt"


@contextmanager
def covered(files: Mapping[Path, Path | bytes], scratch: Path) -> Iterator[None]:
    """Processes started within find at each path of ``files`` the file it maps to, or the content.

    ``scratch`` is a folder for this alone.  To be used in the main thread, whose other threads
    keep their view, and never with anything awaited within.  Raises `KernelError`.
    """
    if not files:
        yield
        return
    namespace = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    is_moved = False
    try:
        try:
            unshare(CLONE_NEWNS)
            is_moved = True
            _cover_all(files, scratch)
        except OSError as error:
            raise _refuse(error) from error
        yield
    finally:
        if is_moved:
            _return(namespace, folder)
        os.close(namespace)
        os.close(folder)


def _cover_all(files: Mapping[Path, Path | bytes], scratch: Path) -> None:
    here = Path.cwd()
    make_mounts_private()
    pinned = {
        path: os.open(file, os.O_PATH | os.O_CLOEXEC)
        for path, file in files.items()
        if isinstance(file, Path)
    }
    try:
        mount("tmpfs", str(scratch), 0, "tmpfs")
        covering = _Covering(scratch)
        for path, file in files.items():
            covering.cover(path, pinned.get(path), b"" if isinstance(file, Path) else file)
    finally:
        for descriptor in pinned.values():
            os.close(descriptor)
    os.chdir(here)  # what covers it now, if anything does


class _Covering:
    """Covers paths one after the other; a folder is made writable once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._writable: set[Path] = set()
        self._number = 0

    def cover(self, path: Path, pinned: int | None, content: bytes) -> None:
        """Shows at a path the file of a descriptor, or else a content."""
        self._number += 1
        scratch = self._scratch / str(self._number)
        real = Path(os.path.realpath(path.parent)) / path.name
        if not os.path.lexists(real):
            self._make_room(real, scratch)
        if pinned is None:
            source = scratch.with_suffix(".content")
            source.write_bytes(content)
            source.chmod(_FOR_ALL)
        else:
            source = Path(f"/proc/self/fd/{pinned}")
        mount(str(source), os.path.realpath(real), MS_BIND)

    def _make_room(self, real: Path, scratch: Path) -> None:
        base = next(folder for folder in real.parents if folder.is_dir())
        if base not in self._writable:
            _make_writable(base, scratch)
            self._writable.add(base)
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()


def _make_writable(base: Path, scratch: Path) -> None:
    """Covers a folder with itself, so that what is made in it is seen here only."""
    if base == Path("/"):
        raise OSError(errno.ENOENT, "there is not even the first folder of it", None)
    try:
        _overlay(base, scratch)
    except OSError:  # a user namespace may not, or the kernel has none
        _mirror(base, scratch / "mirror")


def _overlay(base: Path, scratch: Path) -> None:
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    _make_alike(upper, base)
    below = _find_mounts_below(base)
    pinned = [os.open(one, os.O_PATH | os.O_CLOEXEC) for one in below]
    try:
        mount(
            "overlay", str(base), 0, "overlay", f"lowerdir={base},upperdir={upper},workdir={work}"
        )
        for one, descriptor in zip(below, pinned, strict=True):
            mount(f"/proc/self/fd/{descriptor}", one, MS_BIND | MS_REC)
    finally:
        for descriptor in pinned:
            os.close(descriptor)


def _find_mounts_below(base: Path) -> list[str]:
    """Where something is mounted within a folder, the outermost ones."""
    found: list[str] = []
    for line in Path("/proc/thread-self/mountinfo").read_text(encoding="utf-8").splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        inside = place.startswith(f"{base}/")
        if inside and not any(place == one or place.startswith(f"{one}/") for one in found):
            found = [one for one in found if not one.startswith(f"{place}/")] + [place]
    return found


def _mirror(base: Path, copy: Path) -> None:
    """The same by a mount for each entry."""
    entries = list(os.scandir(base))
    if len(entries) > MOST_MIRRORED:
        raise OSError(errno.ENOSPC, f"{base} has too many entries to be shown another way", None)
    copy.mkdir(parents=True)
    for entry in entries:
        target = copy / entry.name
        if entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
            continue
        if entry.is_dir():
            target.mkdir()
        else:
            target.touch()
        mount(entry.path, str(target), MS_BIND | MS_REC)
    _make_alike(copy, base)
    mount(str(copy), str(base), MS_BIND | MS_REC)


def _make_alike(folder: Path, original: Path) -> None:
    """In mode, and in owner where that may be."""
    known = original.stat()
    with contextlib.suppress(OSError):
        os.chown(folder, known.st_uid, known.st_gid)
    folder.chmod(stat.S_IMODE(known.st_mode))


def _return(namespace: int, folder: int) -> None:
    if libc.setns(ctypes.c_int(namespace), ctypes.c_int(CLONE_NEWNS)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), _OWN_NAMESPACE)
    os.fchdir(folder)


def _refuse(error: OSError) -> KernelError:
    where = f" ({error.filename})" if error.filename else ""
    return KernelError(
        "files and sockets cannot be put in the place of the application's real ones:"
        f" {error.strerror}{where}"
    )
