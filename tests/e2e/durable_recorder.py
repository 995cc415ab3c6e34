"""Records a process until it is killed: ``durable_recorder.py PID FOLDER``.

Prints the assembler's process id once it captures, then how many cases are complete, as that
grows.  It decides soon, however busy the host is, so that there is something to lose at any moment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kebpf.capture.probes import Probes
from kebpf.capture.target import resolve_target
from kebpf.recording.assembly import Assembly
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.channel import Prepare
from kebpf.recording.progress import Progress
from kebpf.recording.recorder import begin_recording


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def show(progress: Progress) -> None:
    say(progress.test_cases)


def main(pid: str, folder: str) -> None:
    soon = {"grace_ns": 20_000_000, "learning_ns": 0}
    assert RecordingBuilder.__init__.__kwdefaults__ is not None
    RecordingBuilder.__init__.__kwdefaults__.update(soon)
    assembly = Assembly()
    assembly.step_back = assembly.hurry  # type: ignore[method-assign]
    assembly.prepare(Prepare(folder, Path(folder).name, durable=True))
    recording = begin_recording(Probes(), resolve_target([int(pid)]), assembly)
    say(assembly.pid)
    recording.watch(lambda: False, show)


if __name__ == "__main__":
    main(*sys.argv[1:])
