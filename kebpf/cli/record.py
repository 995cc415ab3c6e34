"""``kebpf record``: wires probes, recorder and display together."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from kebpf.capture.checks import ON_HOST
from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.capture.filters import Filters
from kebpf.capture.host import Host
from kebpf.capture.probes import Door, Probes
from kebpf.capture.target import (
    Target,
    resolve_cgroup,
    resolve_container,
    resolve_target,
    resolve_unit,
)
from kebpf.cli.errors import DEBUG_VARIABLE, DEFECT_HINT, CommandUsageError, KebpfError
from kebpf.cli.options import Door as DoorOption
from kebpf.cli.options import RecordOptions
from kebpf.cli.outcome import make_notes, make_status
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import ProgramCache
from kebpf.recording.assembly import AssemblerError, Assembly, EventLogFullError
from kebpf.recording.channel import Prepare
from kebpf.recording.errors import TestSetError
from kebpf.recording.progress import Progress
from kebpf.recording.recorder import Recording, begin_recording
from kebpf.recording.redaction.rules import make_redaction
from kebpf.report.recorded import (
    describe_opening,
    describe_subject,
    summary_object,
)
from kebpf.report.recording import RecordingDisplay, open_display

_SHOW_SECONDS = 0.25
_MEBIBYTE = 1 << 20
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    """Records until the end and verifies if asked to; the exit status.  Raises `KebpfError`."""
    folder = read_folder(options.pids[0]) if options.verify_runs and options.pids else None
    status = _record(options)
    if options.verify_runs is None:
        return status
    from kebpf.cli.verify import verify_recording

    return verify_recording(options, folder, sys.stdout)


def _record(options: RecordOptions) -> int:
    if os.geteuid() != 0:
        raise KebpfError("recording needs root", hint="run it with sudo")
    if Host().is_in_pid_namespace():
        raise KebpfError(
            "process ids here are not those of the host, which the probes see, so nothing can be "
            "recorded from in here",
            hint=f"{ON_HOST}, or in a container with --pid=host",
        )
    with _explaining(options), ExitStack() as stack:
        assembly = Assembly(options.backlog * _MEBIBYTE)  # first: it loads while others do
        stack.callback(assembly.close)
        if not options.command:
            return record_running(options, assembly)
        from kebpf.cli.launching import record_command

        return record_command(options, assembly)


def record_running(options: RecordOptions, assembly: Assembly) -> int:
    """Records processes that are there already."""
    with ExitStack() as stack:
        session = Session(options, find_target(options), assembly, stack)
        session.begin()
        session.watch(session.stop)
        return session.finish(*session.explain_end())


def find_target(options: RecordOptions) -> Target:
    """What is there already and was asked for.  Raises `TargetError`."""
    if options.cgroup is not None:
        return resolve_cgroup(options.cgroup)
    if options.unit is not None:
        return resolve_unit(options.unit)
    if options.container is not None:
        return resolve_container(options.container)
    return resolve_target(options.pids)


@contextmanager
def _explaining(options: RecordOptions) -> Iterator[None]:
    """The errors of the stages below, as what a command ends with."""
    try:
        yield
    except KernelError as error:
        raise KebpfError(str(error), hint=error.hint or None) from error
    except (NoTargetError, TestSetError) as error:
        raise KebpfError(str(error)) from error
    except EventLogFullError as error:
        text = f"{options.keep_events} cannot be written: {error.reason.strerror}"
        raise KebpfError(text) from error
    except AssemblerError as error:
        raise explain_assembler(error) from error
    except TargetError as error:
        raise CommandUsageError(str(error)) from error


class Session:
    """One recording, with everything undone when ``stack`` closes."""

    def __init__(
        self, options: RecordOptions, target: Target, assembly: Assembly, stack: ExitStack
    ) -> None:
        self._options = options
        self._target = target
        check_name(options.name)
        name = options.name = options.name or make_name(options.output, target.name)
        self._folder = options.output / name
        self._assembly = assembly
        self._stack = stack
        # until there is something to keep, this too undoes everything
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        events = None if options.keep_events is None else str(options.keep_events)
        assembly.prepare(
            Prepare(
                str(self._folder),
                name,
                find_owner(),
                events,
                unique=options.is_unique,
                leave_out=[asdict(rule) for rule in options.leave_out],
            )
        )
        door = None if options.door is DoorOption.AUTO else Door(options.door.value)
        self._filters = Filters(
            tuple(options.ports), tuple(options.excluded_ports), options.is_inbound_only
        )
        self._probes = Probes(
            door,
            ring_size=_power_of_two(options.ring_size * _MEBIBYTE),
            filters=self._filters,
            with_groups=target.group is not None,
            cache=ProgramCache(),
            with_tasks=options.with_tasks,
            with_tls=options.with_tls,
        )
        stack.callback(self._probes.close)
        self._display: RecordingDisplay = open_display(
            sys.stderr if options.as_json else sys.stdout
        )
        stack.callback(self._display.close)
        self._next_show = 0.0
        self._is_running = True
        self._told = 0  # refusals
        self._recording: Recording | None = None
        self.stop = Stop(None)

    def begin(self) -> None:
        """Capturing when it returns; signals and the duration end it from here on."""
        self._recording = begin_recording(
            self._probes,
            self._target,
            self._assembly,
            self._filters.describe(),
            self._options.with_java_agent,
            make_redaction(self._options.redact),
        )
        self._stack.callback(self._recording.close)
        self.stop = Stop(self._options.duration)
        for number in _END_SIGNALS:
            signal.signal(number, self.stop.receive_signal)

    def watch(self, should_stop: Callable[[], bool]) -> Progress:
        """Records to the end; nothing is in its place yet."""
        facts = self._target.facts
        subject = describe_subject(
            self._target.title, self._options.pids or [facts.pid], len(self._target.pids)
        )
        several = len(self._options.pids) > 1 or bool(self._target.title and self._target.pids[1:])
        opening = describe_opening(
            subject,
            " ".join(self._show_command(facts.command)),
            self._target.open_connections,
            self._options.duration,
            several,
        )
        self._display.start(opening)
        return self._begun().watch(should_stop, self._show)

    def _show_command(self, words: list[str]) -> list[str]:
        if self._options.redact is None:
            return words
        from kebpf.recording.redaction.commandline import hide_secrets

        return hide_secrets(words, self._options.redact)

    def explain_end(self) -> list[str]:
        """Why it ended, if nobody ended it."""
        if self.stop():
            return []
        return [f"{self._target.describe()} ended, and the recording with it"]

    def finish(self, *notes: str) -> int:
        """Writes the test set and prints the summary, with ``notes``; the exit status."""
        ignore_end_signals()
        ending = self._begun().finish(self._show)
        status = make_status(ending.progress)
        status.notes = [*notes, *make_notes(ending.progress)]
        self._display.finish(status, self._folder)
        if self._options.as_json:
            sys.stdout.write(json.dumps(summary_object(status, self._folder)) + "\n")
        return 0

    def _begun(self) -> Recording:
        if self._recording is None:
            raise RuntimeError("a session is begun before it runs")
        return self._recording

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_show:
            self._next_show = now + _SHOW_SECONDS
            self._tell_of_restarts()
            self._tell_of_refusals()
            self._display.update(make_status(progress))

    def _tell_of_refusals(self) -> None:
        refusals = self._begun().refusals
        for refusal in refusals[self._told :]:
            self._display.announce(refusal)
        self._told = len(refusals)

    def _tell_of_restarts(self) -> None:
        """A target that is lasting may have no process for a while."""
        if not self._target.is_lasting or self.stop():
            return
        is_running = bool(self._probes.watched())
        if is_running != self._is_running:
            self._is_running = is_running
            what = self._target.describe()
            waiting = (
                f"{what} has stopped: waiting for it to start again; Ctrl-C ends the recording"
            )
            self._display.announce(f"{what} runs again" if is_running else waiting)


def ignore_end_signals() -> None:
    """It ends, and the interpreter's own end is to be let be too.

    Blocked meanwhile: of one that comes while it begins to be ignored, Python prints a traceback.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def read_folder(pid: int) -> Path | None:
    """The working folder of a process, if it can be read."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def make_name(output: Path, process_name: str) -> str:
    """``shop-1``: the process's name and the first number that is free."""
    letters = (one if one.isalnum() or one in "._-" else "-" for one in process_name)
    safe = "".join(letters).lstrip(".") or "set"
    number = 1
    while os.path.lexists(output / f"{safe}-{number}"):
        number += 1
    return f"{safe}-{number}"


def find_owner() -> tuple[int, int] | None:
    """Under sudo the recording belongs to who called it."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    return (int(user), int(group)) if user.isdigit() and group.isdigit() else None


def check_name(name: str | None) -> None:
    """Raises `CommandUsageError` for what is not one folder's name."""
    if name is not None and (not name or "/" in name or name.startswith(".")):
        raise CommandUsageError(f"{name!r} is no name of a test set: no slashes, no leading dot")


def explain_assembler(error: AssemblerError) -> KebpfError:
    """An end that was not foreseen; the traceback for those who ask."""
    if error.traceback and os.environ.get(DEBUG_VARIABLE):
        sys.stderr.write(error.traceback)
    return KebpfError(str(error), hint=DEFECT_HINT)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
