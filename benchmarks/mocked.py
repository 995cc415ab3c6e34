"""Runs a command on recorded mocks on one processor; prints what the responder took, as JSON.

``python -m benchmarks.mocked SET COMMAND …``; the command runs on the other processors.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from kebpf.cli.environment import make_environment
from kebpf.recording.store import TestSet
from kebpf.replay.invoker import find_invoker
from kebpf.replay.mockrun import MockRun, MockRunResult


def run_mocked(path: Path, command: list[str]) -> tuple[MockRunResult, float]:
    """The result, and seconds of processor time from starting the command to its end."""
    run = MockRun([TestSet.open(path)], make_environment([]))
    begun = time.process_time()
    result = asyncio.run(run.run(command, find_invoker()))
    return result, time.process_time() - begun


def main() -> int:
    """The command line; the exit status is the command's."""
    path, command = Path(sys.argv[1]), sys.argv[2:]
    own, *others = sorted(os.sched_getaffinity(0))
    _, idle = run_mocked(path, ["true"])
    os.sched_setaffinity(0, {own})
    where = ",".join(map(str, others or [own]))
    result, spent = run_mocked(path, ["taskset", "-c", where, *command])
    print(json.dumps({"calls": result.answered, "missed": result.missed, "cpu": spent - idle}))
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main())
