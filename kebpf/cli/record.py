"""``kebpf record``: wires probes, recorder and display together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from kebpf.capture.probes import Door, Probes
from kebpf.capture.target import Target, TargetError, resolve_target
from kebpf.cli.errors import CommandUsageError, KebpfError
from kebpf.cli.options import Door as DoorOption
from kebpf.cli.options import RecordOptions
from kebpf.kernel.errors import KernelError
from kebpf.recording.errors import TestSetError
from kebpf.recording.recorder import Ending, Progress, Recorder
from kebpf.recording.writer import TestSetWriter
from kebpf.report.recording import (
    RecordingDisplay,
    RecordingStatus,
    describe_opening,
    open_display,
    summary_object,
)

_SHOW_SECONDS = 0.25
_MEBIBYTE = 1 << 20


class Stop:
    """Whether to end: a signal came, or the time is over."""

    def __init__(self, duration: float | None) -> None:
        self._deadline = None if duration is None else time.monotonic() + duration
        self.is_signalled = False

    def __call__(self) -> bool:
        is_over = self._deadline is not None and time.monotonic() >= self._deadline
        return self.is_signalled or is_over

    def receive_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_signalled = True


def record(options: RecordOptions) -> int:
    """Records until the end; the exit status.  Raises `KebpfError`."""
    if os.geteuid() != 0:
        raise KebpfError("recording needs root", hint="run it with sudo")
    with _explaining():
        if options.command:
            from kebpf.cli.launching import record_command

            return record_command(options)
        return record_running(options)


def record_running(options: RecordOptions) -> int:
    """Records processes that are there already."""
    try:
        target = resolve_target(options.pids)
    except TargetError as error:
        raise CommandUsageError(str(error)) from error
    with ExitStack() as stack:
        session = Session(options, target, stack)
        session.begin()
        return session.run()


@contextmanager
def _explaining() -> Iterator[None]:
    """The errors of the stages below, as what a command ends with."""
    try:
        yield
    except KernelError as error:
        raise KebpfError(str(error), hint=error.hint or None) from error
    except TestSetError as error:
        raise KebpfError(str(error)) from error


class Session:
    """One recording, with everything undone when ``stack`` closes."""

    def __init__(self, options: RecordOptions, target: Target, stack: ExitStack) -> None:
        self._options = options
        self._target = target
        name = options.name or make_name(options.output, target.facts.name)
        self._folder = options.output / name
        check_log_folder(options.keep_events)
        self._writer = TestSetWriter(self._folder, find_owner())
        stack.callback(self._abort)
        self._is_committed = False
        door = None if options.door is DoorOption.AUTO else Door(options.door.value)
        self._probes = Probes(door, ring_size=_power_of_two(options.ring_size * _MEBIBYTE))
        stack.callback(self._probes.close)
        self._recorder = Recorder(self._probes, target, self._writer, name)
        self._display: RecordingDisplay = open_display(
            sys.stderr if options.as_json else sys.stdout
        )
        stack.callback(self._display.close)
        self._next_show = 0.0
        self.stop = Stop(None)

    def begin(self) -> None:
        """Capturing when it returns."""
        command = " ".join(self._options.command or self._target.facts.command)
        try:
            self._recorder.begin(self._options.keep_events)
        except OSError as error:
            raise KebpfError(
                f"{self._options.keep_events} cannot be written: {error.strerror}"
            ) from error
        self.stop = Stop(self._options.duration)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop.receive_signal)
        opening = describe_opening(
            self._options.pids or [self._target.facts.pid], command, self._target.open_connections
        )
        self._display.start(opening)

    def run(self) -> int:
        """Records to the end and prints the summary; the exit status."""
        ending = self._recorder.run(self.stop, self._show)
        self._is_committed = True
        status = make_status(ending.progress)
        status.notes = make_notes(ending, self._target)
        self._display.finish(status, self._folder)
        if self._options.as_json:
            import json

            sys.stdout.write(json.dumps(summary_object(status, self._folder)) + "\n")
        return 0

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_show:
            self._next_show = now + _SHOW_SECONDS
            self._display.update(make_status(progress))

    def _abort(self) -> None:
        if not self._is_committed:
            self._writer.abort()


def make_status(progress: Progress) -> RecordingStatus:
    """What the display shows of a recording's progress."""
    return RecordingStatus(
        requests=progress.requests,
        test_cases=progress.test_cases,
        mocks=progress.mocks,
        events=progress.events,
        captured_bytes=progress.captured_size,
        lost_events=progress.lost_events,
        lost_bytes=progress.lost_size,
        connections=progress.connections,
        unparsed_connections=sum(progress.unparsed.values()),
        left_out=progress.left_out,
        destinations={
            name: {"protocol": progress.protocols.get(name, "?"), "calls": calls}
            for name, calls in progress.destinations.items()
        },
        seconds=progress.seconds,
    )


def make_notes(ending: Ending, target: Target) -> list[str]:
    """Further sentences for the summary: why connections were not parsed, payloads not copied."""
    notes = [
        f"{number} of the connections not parsed: {reason}"
        for reason, number in ending.progress.unparsed.items()
    ]
    for (pid, call), size in ending.progress.missing_payload.items():
        notes.append(
            f"process {pid} moved {size:,} bytes by system call {call}, whose payload cannot be "
            "read (sendfile, splice, io_uring)"
        )
    return notes


def make_name(output: Path, process_name: str) -> str:
    """``shop-1``: the process's name and the first number that is free."""
    safe = "".join(
        letter if letter.isalnum() or letter in "._-" else "-" for letter in process_name
    )
    number = 1
    while (output / f"{safe}-{number}").exists():
        number += 1
    return f"{safe}-{number}"


def find_owner() -> tuple[int, int] | None:
    """Under sudo the recording belongs to who called it."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    return (int(user), int(group)) if user.isdigit() and group.isdigit() else None


def check_log_folder(path: Path | None) -> None:
    """Raises `CommandUsageError` before anything is loaded."""
    if path is not None and not path.parent.is_dir():
        raise CommandUsageError(f"{path} cannot be written: {path.parent} is not a folder")


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
