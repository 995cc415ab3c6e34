"""Reads what a runtime's folder declares, and installs it into a folder outside the sources."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
CACHE = FOLDER.parents[2] / "build" / "runtimes"
INSTALL_SECONDS = 900.0
SHOWN_CHARACTERS = 4_000

Command = list[str]


class InstallError(Exception):
    """A command of a declaration failed; the text has its last words."""


@dataclass(frozen=True)
class Runtime:
    """A runtime's declaration; the module `harness` says what each key means."""

    name: str
    title: str
    start: Command
    lock: Sequence[str] = ()
    needs: Sequence[str] = ()
    install: Sequence[Command] = ()
    build: Sequence[Command] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    bugs: Sequence[str] = ("title",)
    recycles_after: float | None = None
    left_out: Sequence[str] = ()
    sendfile: int = 0
    min_cases: int = 1

    @property
    def sources(self) -> Path:
        return FOLDER / self.name

    def why_not(self) -> str | None:
        """What of the runtime is not on this machine, if anything."""
        missing = [name for name in self.needs if shutil.which(name) is None]
        return f"{', '.join(missing)} not installed" if missing else None

    @property
    def installed(self) -> Path:
        """The folder it is installed and run in, by what decides what is installed."""
        digest = hashlib.sha256(sys.version.encode())
        digest.update(json.dumps([self.install, self.needs]).encode())
        for name in sorted(self.lock):
            digest.update((self.sources / name).read_bytes())
        return CACHE / f"{self.name}-{digest.hexdigest()[:12]}"


def find_runtimes() -> list[Runtime]:
    """All that are declared, by name."""
    return [read_runtime(path) for path in sorted(FOLDER.glob("*/runtime.json"))]


def read_runtime(path: Path) -> Runtime:
    """A declaration.  Raises `TypeError` on a key that there is not."""
    return Runtime(name=path.parent.name, **json.loads(path.read_text()))


def fill_in(words: Sequence[str], **values: object) -> Command:
    """A command with ``{python}`` and the like filled in."""
    return [word.format(python=sys.executable, **values) for word in words]


def install(runtime: Runtime) -> Path:
    """Installs unless that was done before, copies the sources, builds; gives the folder.

    Raises `InstallError`.
    """
    folder = runtime.installed
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        shutil.copytree(runtime.sources, folder, dirs_exist_ok=True)
        done = folder / ".installed"
        if not done.exists():
            run_all(runtime.install, folder)
            done.touch()
        run_all(runtime.build, folder)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_all(commands: Sequence[Command], folder: Path) -> None:
    """Runs commands one after the other in a folder.  Raises `InstallError`."""
    for command in commands:
        words = fill_in(command)
        done = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise InstallError(f"{' '.join(words)}:\n{done.stdout[-SHOWN_CHARACTERS:]}")
