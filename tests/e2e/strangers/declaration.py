"""Finds the applications, what each declares, and copies of them with a regression."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.runtimes.declaration import Runtime, install, run_all
from tests.e2e.strangers.driving import Customer, load_driver

FOLDER = Path(__file__).parent
INSTALLED = (".venv", "node_modules")  # what a copy shares with the original


@dataclass(frozen=True)
class Regression:
    """A change of the source, and the requests that may fail by it: ``METHOD /path`` as globs.

    ``escapes`` says why it is not seen yet, if so.
    """

    name: str
    old: str
    new: str
    red: Sequence[str]
    file: str = "app.py"
    escapes: str = ""


@dataclass(frozen=True)
class Stranger(Runtime):
    """An application's ``application.json``: a runtime's keys (see `harness`) and these.

    - ``services``   of ``postgres``, ``redis`` and ``supplier`` (the program below) what it needs
    - ``schema``     SQL files that make its tables
    - ``health``     the path that answers 200 once it is up
    - ``supplier``   how to start the HTTP service it calls, if any, with ``{supplier_port}``
    - ``clients``    customers at once
    - ``in_ci``      whether it is among those that are always tested
    - ``regressions``  changes of its source, see `Regression`
    - ``broken``     why it does not pass on unchanged code yet, by the order of the cases
    """

    services: Sequence[str] = ("postgres", "redis")
    schema: str = "schema.sql"
    health: str = "/health"
    supplier: Sequence[str] = ()
    clients: int = 8
    broken: Mapping[str, str] = field(default_factory=dict)
    in_ci: bool = False
    regressions: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def sources(self) -> Path:
        return FOLDER / self.name

    @property
    def customer(self) -> Customer:
        """One visit of one customer."""
        return load_driver(self.sources / "driver.py")

    @property
    def changes(self) -> list[Regression]:
        return [Regression(**one) for one in self.regressions]


def find_strangers() -> list[Stranger]:
    """All that are declared, by name."""
    return [read_stranger(path) for path in sorted(FOLDER.glob("*/application.json"))]


def read_stranger(path: Path) -> Stranger:
    """A declaration.  Raises `TypeError` on a key that there is not."""
    return Stranger(name=path.parent.name, **json.loads(path.read_text()))


def install_stranger(stranger: Stranger) -> Path:
    """Installs it unless that was done before; gives the folder to start it in."""
    return install(stranger)


def copy_changed(stranger: Stranger, regression: Regression, folder: Path) -> Path:
    """The application with a regression, built in ``folder``.

    Raises ``ValueError`` unless the text to change occurs exactly once.
    """
    installed = install(stranger)
    shutil.copytree(stranger.sources, folder, dirs_exist_ok=True)
    for name in INSTALLED:
        if (installed / name).exists() and not (folder / name).exists():
            (folder / name).symlink_to(installed / name)
    path = folder / regression.file
    source = path.read_text()
    if source.count(regression.old) != 1:
        raise ValueError(f"{regression.name}: {regression.old!r} is not there exactly once")
    path.write_text(source.replace(regression.old, regression.new))
    run_all(stranger.build, folder)
    return folder
