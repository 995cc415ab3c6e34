"""Reads which client libraries there are rows for, and installs them outside the sources.

An environment is a folder beside this file: programs of one language, their pinned dependencies
and a ``clients.json`` with

- ``title``        the language, or what the clients have in common
- ``needs``        programs that must be on PATH; without them its tests are skipped
- ``lock``         files that pin the dependencies: their hash decides whether to install anew
- ``install``      commands, run once in a copy of the folder under ``build/conformance/``
- ``build``        commands, run there every time, when the sources have been copied (incremental)
- ``environment``  more variables for the programs
- ``start``        the command; the row's name and the form follow as two more words
- ``rows``         the clients by name; the keys are those of `Row`

The program does all that the library can do and prints whatever it sees, a JSON object a line,
the same in every form (see `harness`).  ``{python}`` in a command is the tests' interpreter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.runtimes.declaration import Command, fill_in, locked, run_all

FOLDER = Path(__file__).parent
CACHE = FOLDER.parents[1] / "build" / "conformance"
SERVICES = ("postgres", "redis", "http")
PLAIN, CHANGED = "plain", "changed"


@dataclass(frozen=True)
class Environment:
    """One folder of clients, without its rows."""

    name: str
    title: str
    start: Command
    needs: Sequence[str] = ()
    lock: Sequence[str] = ()
    install: Sequence[Command] = ()
    build: Sequence[Command] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> Path:
        return FOLDER / self.name

    @property
    def installed(self) -> Path:
        """The folder it is installed and run in, by what decides what is installed."""
        digest = hashlib.sha256(sys.version.encode())
        digest.update(json.dumps([self.install, self.needs]).encode())
        for name in sorted(self.lock):
            digest.update((self.sources / name).read_bytes())
        return CACHE / f"{self.name}-{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Row:
    """A client library: what its program exercises, in which forms, and what is not the same.

    ``service`` is one of `SERVICES`.  ``forms`` are ways to make the same calls other than the
    recorded one, by name, each with a few words for the table; ``prints_otherwise`` are those in
    which the library itself shows the same answers differently.  ``raises`` is the class of error
    that the library raises for a call that was not recorded.  ``limits`` are sentences.  CI takes
    those that are ``in_ci``.
    """

    environment: Environment
    name: str
    client: str
    version: str
    service: str
    exercises: str
    raises: str
    forms: Mapping[str, str] = field(default_factory=dict)
    prints_otherwise: Sequence[str] = ()
    needs: Sequence[str] = ()
    limits: Sequence[str] = ()
    in_ci: bool = False

    def __post_init__(self) -> None:
        if self.service not in SERVICES:
            raise ValueError(f"{self.name}: there is no service {self.service!r}")

    def __str__(self) -> str:
        return self.name

    def why_not(self) -> str | None:
        """What of it is not on this machine, if anything."""
        needs = (*self.environment.needs, *self.needs)
        missing = [name for name in needs if shutil.which(name) is None]
        return f"{', '.join(missing)} not installed" if missing else None

    def command(self, form: str) -> Command:
        """What is run, in the folder where it is installed."""
        return [*fill_in(self.environment.start), self.name, form]


def find_rows() -> list[Row]:
    """All that are declared, by environment and in the order of their declaration."""
    paths = sorted(FOLDER.glob("*/clients.json"))
    return [row for path in paths for row in read_rows(path)]


def choose_rows(names: str) -> list[Row]:
    """The rows or environments of these names, by default all.  Raises `ValueError`."""
    rows, wanted = find_rows(), set(names.replace(",", " ").split())
    known = {name for row in rows for name in (row.name, row.environment.name)}
    if wanted - known:
        raise ValueError(f"there is no client {', '.join(sorted(wanted - known))}")
    return [row for row in rows if not wanted or wanted & {row.name, row.environment.name}]


def read_rows(path: Path) -> list[Row]:
    """The rows of a declaration.  Raises `TypeError` on a key that there is not."""
    declared: dict[str, Any] = json.loads(path.read_text())
    rows: dict[str, dict[str, Any]] = declared.pop("rows")
    environment = Environment(name=path.parent.name, **declared)
    return [Row(environment, name, **keys) for name, keys in rows.items()]


def install(environment: Environment) -> Path:
    """Installs unless that was done before, copies the sources, builds; gives the folder.

    Raises `InstallError`.
    """
    folder = environment.installed
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        shutil.copytree(environment.sources, folder, dirs_exist_ok=True)
        done = folder / ".installed"
        if not done.exists():
            run_all(environment.install, folder)
            done.touch()
        run_all(environment.build, folder)
    return folder
