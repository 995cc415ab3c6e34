"""Builds root file systems once and keeps them, outside the repository, by what is in them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.vm.releases import RELEASES, Kernel, Release, find_mirror, read_requirements

_HERE = Path(__file__).parent
_BUILDER = _HERE / "build-image"
_GUEST = _HERE / "guest.py"
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
#: Programs of the host, and the package that each is in.
NEEDED = {
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class ImageError(Exception):
    """A root file system could not be built; one sentence."""


@dataclass(frozen=True, slots=True)
class Image:
    """A kept root file system: nothing ever writes to it."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    def find_kernel(self, kernel: Kernel) -> tuple[Path, Path]:
        """The kernel and its initial file system.  Raises `ImageError`."""
        found = sorted(self.folder.glob(f"vmlinuz-{kernel.series}*"))
        if not found:
            raise ImageError(f"no kernel {kernel.series} in {self.folder}")
        version = found[-1].name.removeprefix("vmlinuz-")
        return found[-1], self.folder / f"initrd-{version}"


def find_cache() -> Path:
    """``KEBPF_VM_CACHE``, else kebpf-vm in the user's folder of caches."""
    named = os.environ.get("KEBPF_VM_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named) if named else Path(home).expanduser() / "kebpf-vm"


def list_missing() -> list[str]:
    """The packages this host lacks to build and boot machines."""
    return sorted({of for name, of in NEEDED.items() if not shutil.which(name, path=_PATH)})


def find_image(name: str) -> Image:
    """The root file system of a release, built if it is not there.  Raises `ImageError`."""
    recipe = _make_recipe(RELEASES[name])
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    cache = find_cache()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{key}"
    with _locked(cache / f"{name}.lock"):
        if not folder.is_dir():
            _build(folder, recipe)
    return Image(folder)


def _make_recipe(release: Release) -> dict[str, str]:
    """All that decides what is in it: the files that the builder reads, by name."""
    sources = {one.suite for one in release.kernels} - {release.suite}
    mirror = find_mirror()
    lists = {
        "kernels": [one.suite for one in release.kernels],
        "sources": [f"{suite} {mirror}" for suite in sorted(sources)],
        "packages": list(release.packages()),
        "requirements": read_requirements(),
    }
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items()}
    texts |= {key: str(asdict(release)[key]) for key in ("suite", "size")} | {"mirror": mirror}
    return texts | {"guest.py": _GUEST.read_text(), "builder": _BUILDER.read_text()}


def _build(folder: Path, recipe: dict[str, str]) -> None:
    """In a folder beside it that is gone if anything fails."""
    sys.stderr.write(f"building {folder} (once; some minutes)\n")
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        for name, text in recipe.items():
            (scratch / name).write_text(text, encoding="utf-8")
        log = scratch / "log"
        with log.open("wb") as output:
            done = subprocess.run(
                [*_NAMESPACES, "/bin/bash", scratch / "builder", scratch],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            shutil.copy(log, folder.parent / "failed.log")
            told = log.read_text(errors="replace").splitlines()[-8:]
            raise ImageError(f"{folder.name} could not be built: " + " / ".join(told))
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One builder at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for each in sys.argv[1:] or RELEASES:
        sys.stdout.write(f"{find_image(each).folder}\n")
