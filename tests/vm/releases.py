"""The Debian releases and kernels that are booted, and what their root file systems hold."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNEL_PACKAGE = "linux-image-cloud-amd64"

# A host to record on, and what the tests start: the lists of packaging/setup/install-packages.
SYSTEM = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "initramfs-tools",
    "procps",
    "iproute2",
)
RUNTIME = ("python3", "python3-venv", "python3-bpfcc", "linux-libc-dev")
TESTED_WITH = (
    "gcc",
    "libc6-dev",
    "postgresql",
    "redis-server",
    "util-linux",
    "openssl",
    "curl",
    "bpftool",
)
# What only checks sources, or drives what is not started in a machine.
_NOT_NEEDED = (
    "build",
    "hatchling",
    "mypy",
    "ruff",
    "types-",
    "markdown-it-py",
    "xmlschema",
    "prometheus_client",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that Debian built: ``suite`` is where from, ``series`` as ``uname -r`` begins."""

    suite: str
    series: str


@dataclass(frozen=True, slots=True)
class Release:
    """A root file system with its kernels; ``sources`` are other suites they come from."""

    suite: str
    kernels: tuple[Kernel, ...]
    size: str = "5G"  # of the disk, which is sparse

    def packages(self) -> tuple[str, ...]:
        return (*SYSTEM, *RUNTIME, *TESTED_WITH)


RELEASES = {
    "bookworm": Release("bookworm", (Kernel("bookworm", "6.1."), Kernel("bullseye", "5.10."))),
    "trixie": Release("trixie", (Kernel("trixie", "6.12."),)),
    "sid": Release("sid", (Kernel("sid", ""),)),
}


def find_mirror() -> str:
    """The archive of Debian's packages that this host has its own from.  Raises ``OSError``."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        address = line.rstrip("/")
        if address.endswith("/debian"):
            return address
    raise OSError("apt knows no archive of Debian's: this needs a Debian host")


def read_requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """What kebpf and its tests need of PyPI in a machine."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [one for one in wanted if not one.startswith(_NOT_NEEDED)]
