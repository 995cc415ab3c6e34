"""Finds the kebpf command and runs recordings with it, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.processes import Process, ProcessError
from examples.services import EXAMPLES

ROOT = Path(__file__).parents[1]
NOT_INSTALLED = "import sys; from kebpf.cli.main import main; sys.exit(main())"
STOP_SECONDS = 60.0


def find_kebpf() -> list[str]:
    """The command beside this interpreter, else the same from the source tree."""
    program = Path(sys.executable).parent / "kebpf"
    return [str(program)] if program.exists() else [sys.executable, "-c", NOT_INSTALLED]


def with_sources(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the source tree can be imported from any folder."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def launch_recorder(
    path: Path,
    *options: str,
    command: Sequence[str] = (),
    environment: Mapping[str, str] = {},
    folder: Path = EXAMPLES,
) -> Process:
    """A recorder of the test set ``path``, of ``command`` if one is given; not capturing yet."""
    words = ["record", "-o", str(path.parent), "--name", path.name, "--json", *options]
    if command:
        words += ["--", *command]
    return Process(
        "kebpf record",
        [*find_kebpf(), *words],
        environment=with_sources(environment),
        folder=folder,
    )


def start_recorder(
    path: Path, *options: str, command: Sequence[str] = (), environment: Mapping[str, str] = {}
) -> Process:
    """The same, capturing when it is given."""
    recorder = launch_recorder(path, *options, command=command, environment=environment)
    recorder.wait_for(lambda line: line.startswith("recording "))
    return recorder


def stop_recorder(recorder: Process) -> dict[str, Any]:
    """Ends the recording as Ctrl-C does; gives the summary object.  Raises `ProcessError`."""
    status = recorder.stop(signal.SIGINT, STOP_SECONDS)
    if status != 0:
        raise ProcessError(f"kebpf record ended with {status}:\n{recorder.tail()}")
    summary: dict[str, Any] = json.loads(recorder.lines[-1])
    return summary
