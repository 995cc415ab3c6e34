"""pytest runs of their own, under ``kebpf mock`` or alone, with the plug-in as it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.recorder import find_kebpf, with_sources
from tests.e2e.ordinary import become

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 100.0
_ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
_LINE = re.compile(r"^(?:\[gw\d+\] \[ *\d+%\] )?(\S+) (\S+::.*?\S)(?: +\[ *\d+%\])?$")
_SWAPPED = re.compile(r"^(\S+::.*?\S) ([A-Z]+)(?: \(.*\))?(?: +\[ *\d+%\])?$")


@dataclass(frozen=True)
class PytestRun:
    """How a run ended; ``said`` is what kebpf wrote to standard error."""

    status: int
    output: str
    said: str

    @property
    def outcomes(self) -> dict[str, list[str]]:
        """By test (without its file), what ``-v`` says of it: an error is said of a phase."""
        found: dict[str, list[str]] = {}
        for line in self.output.partition("= short test summary")[0].splitlines():
            match = _SWAPPED.match(line.rstrip())
            pair = match.groups() if match else None
            if pair is None and (match := _LINE.match(line.rstrip())):
                pair = match.groups()[::-1]
            if pair is not None:
                found.setdefault(pair[0].partition("::")[2], []).append(pair[1])
        return found

    def explain(self, name: str) -> str:
        """What the run shows of one failed test."""
        parts = re.split(r"^_{3,} (.*) _{3,}$", self.output, flags=re.MULTILINE)
        texts = zip(parts[1::2], parts[2::2], strict=True)
        shown = [text.split("\n===")[0] for head, text in texts if head.split()[-1] == name]
        return "\n".join(shown)


def install(folder: Path) -> Path:
    """A folder for PYTHONPATH in which pytest finds the plug-in as an installed package's."""
    info = folder / "kebpf_under_test-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kebpf-under-test\nVersion: 0\n")
    lines = [f"{name} = {value}" for name, value in _ENTRY_POINTS["pytest11"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    return folder


def run_pytest(
    folder: Path,
    *words: str,
    around: Sequence[str] | None = None,
    environment: Mapping[str, str] = {},
    user: str | None = None,
) -> PytestRun:
    """``pytest -v WORDS`` in ``folder``; ``around`` are the words of a ``kebpf mock`` for it.

    A ``user`` runs it without any right; the folder has to be theirs.
    """
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *words]
    if around is not None:
        command = [*find_kebpf(), "mock", *around, "--", *command]
    if user is not None:
        command = [*become(user), *command]
    paths = with_sources({"PYTHONPATH": ""})["PYTHONPATH"]
    installed = install(folder / "installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        env={
            **kept,
            **environment,
            "PYTHONPATH": os.pathsep.join([str(installed), paths]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "200",
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return PytestRun(done.returncode, done.stdout, done.stderr)
