"""Watches one program with the real probes and puts together what they saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kebpf.capture.events import (
    Close,
    Direction,
    Event,
    Listen,
    Lost,
    Process,
    ProcessChange,
    decode_run,
)
from kebpf.capture.probes import Probes
from kebpf.capture.tlsevents import SessionEvent
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.proof import END_UNKNOWN, KernelCount
from kebpf.reassembly.stream import Piece
from kebpf.reassembly.tracker import Totals, Tracker

PROGRAMS = Path(__file__).with_name("programs.py")
URING = Path(__file__).with_name("uring.py")
MOST_WAITS = 200  # of 50 ms each: far more than anything here takes


@dataclass(slots=True)
class Seen:
    """One connection as the tracker gave it."""

    connection: Connection
    pieces: tuple[list[Piece], list[Piece]] = field(default_factory=lambda: ([], []))
    ends: list[Direction] = field(default_factory=list)

    @property
    def egress(self) -> bytes:
        """All bytes sent; a gap counts as none."""
        return self._join(Direction.EGRESS)

    @property
    def ingress(self) -> bytes:
        return self._join(Direction.INGRESS)

    def _join(self, direction: Direction) -> bytes:
        return b"".join(piece.data or b"" for piece in self.pieces[direction])

    def gaps(self, direction: Direction) -> list[tuple[int, int]]:
        """Offset and size of what is missing, adjacent gaps as one."""
        found: list[tuple[int, int]] = []
        for piece in self.pieces[direction]:
            if piece.data is not None:
                continue
            if found and sum(found[-1]) == piece.offset:
                found[-1] = (found[-1][0], found[-1][1] + piece.size)
            else:
                found.append((piece.offset, piece.size))
        return found

    @property
    def remote(self) -> tuple[str, int]:
        return self.connection.opened.remote, self.connection.opened.remote_port


class Collector:
    """The tracker's consumer."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self.given_up: list[tuple[int, int]] = []
        self.lost: list[tuple[int | None, int, int]] = []
        self.tasks: list[tuple[int, int, int]] = []
        self.threads: list[tuple[int, int]] = []

    def open_connection(self, connection: Connection) -> None:
        self.seen[connection.number] = Seen(connection)

    def take_piece(self, connection: Connection, direction: Direction, piece: Piece) -> None:
        self.seen[connection.number].pieces[direction].append(piece)

    def end_stream(self, connection: Connection, direction: Direction, time_ns: int) -> None:
        self.seen[connection.number].ends.append(direction)

    def give_up_connection(self, connection: Connection, time_ns: int) -> None:
        self.given_up.append((connection.number, time_ns))

    def lose_events(self, connection: Connection | None, since_ns: int, time_ns: int) -> None:
        number = None if connection is None else connection.number
        self.lost.append((number, since_ns, time_ns))

    def take_session_event(self, event: SessionEvent, connection: Connection | None) -> None:
        pass

    def forget_process(self, pid: int) -> None:
        pass

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None:
        self.threads.append((tid, maker))

    def link_tasks(self, pid: int, task: int, parent: int) -> None:
        self.tasks.append((pid, task, parent))

    def close_connection(self, connection: Connection, time_ns: int) -> None:
        pass


@dataclass(slots=True)
class Capture:
    """All there was of a program."""

    report: dict[str, Any]
    pid: int
    events: list[Event]
    connections: list[Seen]
    totals: Totals
    listening: list[int]

    @property
    def only(self) -> Seen:
        (one,) = self.connections
        return one

    @property
    def lost(self) -> list[Lost]:
        return [event for event in self.events if isinstance(event, Lost)]

    @property
    def closes(self) -> list[Close]:
        return [event for event in self.events if isinstance(event, Close)]

    @property
    def listens(self) -> list[Listen]:
        return [event for event in self.events if isinstance(event, Listen)]


class Tap:
    """A program held before its start, then watched to its end."""

    def __init__(self, probes: Probes | None, command: Sequence[str]) -> None:
        self._given = probes
        self._events: list[Event] = []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._begun_ns = time.monotonic_ns()

    def use(self, probes: Probes) -> None:
        """Those made after the program, which had to be asked first."""
        self._given = probes

    @property
    def _probes(self) -> Probes:
        assert self._given is not None
        return self._given

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def read_line(self) -> str:
        """The next line the program prints."""
        return self._stdout.readline().strip()

    def start(self) -> None:
        """Watches it from here on, and lets it go."""
        self._begun_ns = time.monotonic_ns()
        self._probes.watch([self.pid])
        self.go_on()

    def go_on(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()

    def finish(self, status: int = 0, closed: int = 0) -> Capture:
        """Reads events until the program's end is among them; what it printed last is its report.

        ``status`` is what it must end with, negative for a signal.  ``closed`` is how many of its
        connections must be closed by then: the kernel does so once the peer has acknowledged all,
        which may be after the program's end.
        """
        for _ in range(MOST_WAITS):
            if self._has_ended() and len(self._closes()) >= closed:
                break
            self._probes.ring.wait(0.05)
            self.drain()
        else:
            raise TimeoutError("the program's end was not seen")
        self._stdin.close()
        output = self._stdout.read()  # communicate() would miss what `read_line` has buffered
        assert self._process.wait() == status
        self.drain()
        return self._put_together(json.loads(output.splitlines()[-1]) if output else {})

    def end(self) -> None:
        """Ends the program if it still runs."""
        self._process.kill()
        self._stdin.close()
        self._stdout.close()
        self._process.wait()

    def _has_ended(self) -> bool:
        return any(
            isinstance(event, Process)
            and event.change == ProcessChange.EXIT
            and event.head.pid == self.pid
            for event in self._events
        )

    def _closes(self) -> list[Close]:
        """Of sockets of this program: another's may end meanwhile."""
        ends = (event for event in self._events if isinstance(event, Close))
        return [event for event in ends if event.head.generation >= self._begun_ns]

    def drain(self) -> None:
        """Takes what is in the ring."""
        while run := self._probes.ring.drain():
            self._events += decode_run(run)

    def _put_together(self, report: dict[str, Any]) -> Capture:
        collector = Collector()
        tracker = Tracker(collector)
        for event in self._events:
            if isinstance(event, Close) and event.head.generation < self._begun_ns:
                continue  # of another program's socket, whose address is used again
            tracker.feed(event)
        counts = {
            (one.socket, one.generation): KernelCount(one.moved, one.lost)
            for one in self._probes.open_connections()
            if one.generation >= self._begun_ns
        }
        tracker.finish(counts)
        wrong = tracker.proof.reasons.keys() - {END_UNKNOWN}  # of those left out above
        assert not wrong, tracker.proof.named
        connections = list(collector.seen.values())
        return Capture(
            report, self.pid, self._events, connections, tracker.totals(), tracker.listening
        )


@contextmanager
def tap_command(probes: Probes | None, command: Sequence[str]) -> Iterator[Tap]:
    """Any program that waits for a line before it begins; ended at the latest here."""
    held = Tap(probes, command)
    try:
        yield held
    finally:
        held.end()


@contextmanager
def tap(probes: Probes, *arguments: object) -> Iterator[Tap]:
    """A program of `tests/capture/programs.py`."""
    script = [URING] if arguments[0] == "uring" else [PROGRAMS, arguments[0]]
    command = [sys.executable, "-I", *map(str, (*script, *arguments[1:]))]
    with tap_command(probes, command) as held:
        yield held


def watch(probes: Probes, *arguments: object) -> Capture:
    """Runs a program to its end under the probes."""
    while probes.ring.drain():
        pass
    with tap(probes, *arguments) as held:
        held.start()
        return held.finish()
