"""A recorder process: records one version of one target into one test set until told to end."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from kebpf.agent.config import Keeping
from kebpf.agent.link import Link, LinkClosedError, Message
from kebpf.capture.capping import Rate
from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.capture.filters import NO_FILTERS, Filters
from kebpf.capture.probes import Door, Probes
from kebpf.capture.target import Target, resolve_target
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.assembly import AssemblerError, Assembly
from kebpf.recording.channel import Prepare
from kebpf.recording.dedup.leaving import LeaveOut
from kebpf.recording.errors import TestSetError
from kebpf.recording.progress import Progress
from kebpf.recording.recorder import Recording, begin_recording
from kebpf.recording.redaction.rules import Rules, make_redaction

RING_SIZE = 4 << 20
_REPORT_SECONDS = 0.5
_NICENESS = 10
#: Of `Progress`, what the supervisor is told: numbers only, nothing that crossed a socket.
_REPORTED = (
    *("requests", "test_cases", "mocks", "events", "connections", "captured_size"),
    *("lost_size", "unfollowed_size", "lost_events", "given_up", "given_up_size", "capped"),
)
#: And what `select_numbers` makes of more: all of these are numbers that add up.
COUNTED = (*_REPORTED, "unique", "left_out", "set_apart", "unparsed", "unbalanced")


@dataclass(frozen=True, slots=True)
class Setup:
    """What is fixed before it is known what to record; ``backlog`` is in bytes."""

    filters: Filters = NO_FILTERS
    backlog: int = 64 << 20
    rate: int | None = None  # bytes a second
    sandbox: Sandbox | None = None
    door: Door | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What to record: ``pids`` with their descendants, called ``title``, into ``folder``."""

    folder: Path
    title: str
    pids: tuple[int, ...]
    keeping: Keeping = field(default_factory=Keeping)

    def as_message(self) -> Message:
        return {
            "record": {
                "folder": str(self.folder),
                "title": self.title,
                "pids": self.pids,
                "unique": self.keeping.unique,
                "leave_out": [asdict(rule) for rule in self.keeping.leave_out],
                "redact": None if self.keeping.redact is None else self.keeping.redact.as_fields(),
            }
        }

    @classmethod
    def of_message(cls, message: Message) -> Order:
        """From what `as_message` gave."""
        wanted = message["record"]
        rules = tuple(LeaveOut(**rule) for rule in wanted["leave_out"])
        redact = None if wanted["redact"] is None else Rules(**wanted["redact"])
        keeping = Keeping(wanted["unique"], rules, redact)
        return cls(Path(wanted["folder"]), wanted["title"], tuple(wanted["pids"]), keeping)

    def prepare(self) -> Prepare:
        """What the assembler is asked for."""
        return Prepare(
            str(self.folder),
            self.folder.name,
            unique=self.keeping.unique,
            leave_out=[asdict(rule) for rule in self.keeping.leave_out],
            durable=True,
        )


def load_all() -> None:
    """Loads what recorder and assembler processes need: they share what was there before them."""
    from kebpf.recording import assembler
    from kebpf.recording.loading import load_everything

    load_everything()
    gc.collect()
    _ = assembler


def run_recorder(setup: Setup, link: Link) -> int:
    """The whole life of a recorder process; its exit status.  What went wrong is told."""
    try:
        _RecorderProcess(setup, link).run()
    except (NoTargetError, LinkClosedError):
        return _tell(link, {"gone": True}, 0)
    except (KernelError, TestSetError, AssemblerError, TargetError) as error:
        return _tell(link, {"failed": str(error)}, 1)
    except Exception as error:  # noqa: BLE001 - the boundary of a process: told to the other
        text = " ".join(str(error).split())
        return _tell(link, {"failed": f"unexpected {type(error).__name__}: {text}"}, 1)
    return 0


def _tell(link: Link, message: Message, status: int) -> int:
    with suppress(LinkClosedError):
        link.send(message)
    return status


class _RecorderProcess:
    """Probes are loaded and the assembler waits before it is told what to record.

    What else it is told comes in a thread of its own, so that a new process is watched at once.
    """

    def __init__(self, setup: Setup, link: Link) -> None:
        self._setup = setup
        self._link = link
        self._is_ended = threading.Event()
        self._recording: Recording | None = None
        self._probes: Probes | None = None
        self._next_report = 0.0
        self._obeyed = 0

    def run(self) -> None:
        """Raises what ends it early."""
        signal.signal(signal.SIGTERM, self._end)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        setup = self._setup
        _step_back()
        with ExitStack() as stack:
            assembly = Assembly(setup.backlog, setup.sandbox)  # first: it is a fork of this process
            stack.callback(assembly.close)
            probes = self._probes = Probes(
                setup.door,
                ring_size=RING_SIZE,
                filters=setup.filters,
                cache=ProgramCache(),
                with_tasks=True,
                with_tls=True,
            )
            stack.callback(probes.close)
            order, others = self._await_order()
            assembly.prepare(order.prepare())
            target = _find_target(order)
            assembly.hurry()
            with _preferred():
                filters = setup.filters.describe()
                rate = None if setup.rate is None else Rate(bytes=setup.rate)
                redaction = make_redaction(order.keeping.redact)
                recording = self._recording = begin_recording(
                    probes, target, assembly, filters, redaction=redaction, rate=rate
                )
            stack.callback(recording.close)
            self._send({"began": time.monotonic_ns(), "watched": probes.watched()})
            for message in others:
                self._obey(message)
            listener = threading.Thread(target=self._listen, name="kebpf-orders", daemon=True)
            listener.start()
            recording.watch(self._is_ended.is_set, self._report)
            ending = recording.finish(self._report)
            self._send({"finished": select_numbers(ending.progress)})

    def _await_order(self) -> tuple[Order, list[Message]]:
        """The first message, and what came with it.  Raises `LinkClosedError`: none will come."""
        self._link.send({"ready": True})
        first, *others = self._link.receive(None)
        return Order.of_message(first), others

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._is_ended.set()

    def _listen(self) -> None:
        while not self._is_ended.is_set():
            try:
                for message in self._link.receive(None):
                    self._obey(message)
            except LinkClosedError:  # the supervisor is gone: what was recorded is kept
                self._is_ended.set()

    def _obey(self, message: Message) -> None:
        if self._recording is None:
            raise RuntimeError("a recording is begun before it is told anything")
        if pids := message.get("watch"):
            with _preferred():
                self._recording.add(pids)
            self._send({"watching": pids, "at_ns": time.monotonic_ns()})
        if pids := message.get("unwatch"):
            self._recording.remove(pids)
        self._obeyed += 1
        if message.get("finish"):
            self._is_ended.set()

    def _report(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next_report or self._probes is None:
            return
        self._next_report = now + _REPORT_SECONDS
        watched: Iterable[int] = () if self._is_ended.is_set() else self._probes.watched()
        self._send(
            {
                "progress": select_numbers(progress),
                "watched": sorted(watched),
                "obeyed": self._obeyed,
            }
        )

    def _send(self, message: Message) -> None:
        try:
            self._link.send(message)
        except LinkClosedError:
            self._is_ended.set()


def _step_back() -> None:
    """Whatever else runs on this host comes first."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), _NICENESS))


def _find_target(order: Order) -> Target:
    """Raises `NoTargetError`: they have ended, which is no failure."""
    target = resolve_target(list(order.pids))
    target.title, target.name = order.title, order.folder.parent.name
    target.origin, target.is_lasting = order.title, True
    return target


def select_numbers(progress: Progress) -> dict[str, Any]:
    """What is told of a recording's progress, with the reasons counted only."""
    numbers: dict[str, Any] = {name: getattr(progress, name) for name in _REPORTED}
    numbers["unique"] = progress.test_cases if progress.unique is None else progress.unique
    numbers["left_out"] = sum(progress.left_out.values())
    numbers["set_apart"] = sum(progress.set_apart.values())
    numbers["unparsed"] = sum(progress.unparsed.values())
    numbers["unbalanced"] = sum(progress.unbalanced.values())
    return numbers


@contextmanager
def _preferred() -> Iterator[None]:
    """This thread comes before what else runs in the background, as long as somebody waits."""
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    with suppress(OSError):  # without the privileges it is as any other
        os.setpriority(os.PRIO_PROCESS, thread, min(before, 0))
    yield
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, max(before, _NICENESS))
