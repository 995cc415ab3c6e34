"""What people see of a recording: that it runs, how it goes, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypedDict

from kebpf.report.lines import count
from kebpf.report.values import cut, escape_controls

if TYPE_CHECKING:  # rich costs memory and start time, which only a terminal is worth
    from rich.live import Live
    from rich.table import Table

PROGRESS_INTERVAL = 10.0
COMMAND_WIDTH = 60
DESTINATION_LIMIT = 12


class DestinationStatus(TypedDict):
    """What was seen of one destination."""

    protocol: str
    calls: int


@dataclass(slots=True)
class RecordingStatus:
    """Where a recording stands; ``seconds`` since it began capturing, sizes in bytes.

    ``given_up`` and ``proven`` are connections: most of whose bytes were thrown away, and whose
    bytes all add up; ``unbalanced`` counts by reason those whose do not.  ``left_out`` gives the
    number of exchanges kept out for each reason, ``filtered`` the number of connections that each
    option left out; ``notes`` are further sentences.  Since the capture ended
    ``ending_seconds`` have gone by, and ``backlog_bytes`` are still to be read.
    """

    requests: int = 0
    test_cases: int = 0
    mocks: int = 0
    events: int = 0
    captured_bytes: int = 0
    lost_events: int = 0
    lost_bytes: int = 0
    connections: int = 0
    unparsed_connections: int = 0
    given_up: int = 0
    given_up_bytes: int = 0
    proven: int = 0
    unbalanced: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, DestinationStatus] = field(default_factory=dict)
    seconds: float = 0.0
    ending_seconds: float = 0.0
    backlog_bytes: int = 0
    notes: list[str] = field(default_factory=list)


class RecordingDisplay(Protocol):
    """Shows a recording as it goes."""

    def start(self, opening: str) -> None:
        """The capture has begun; ``opening`` comes from `describe_opening`."""

    def update(self, status: RecordingStatus) -> None:
        """Takes the newest status; may be called as often as is convenient."""

    def finish(self, status: RecordingStatus, path: Path) -> None:
        """The recording is on disk under ``path``: shows the summary."""

    def close(self) -> None:
        """Gives the terminal back, whether the recording was finished or not."""


def open_display(out: TextIO) -> RecordingDisplay:
    """A live view if ``out`` is a terminal, else plain lines."""
    return LiveDisplay(out) if out.isatty() else PlainDisplay(out)


def describe_subject(title: str, pids: Sequence[int], processes: int) -> str:
    """``pid 4711``, or what ``title`` says of more than processes, with how many there are."""
    if title:
        return f"{title}, {count(processes, 'process', 'processes')}"
    label = "pid" if len(pids) == 1 else "pids"
    return f"{label} {', '.join(str(pid) for pid in pids)}"


def describe_opening(subject: str, command: str, open_connections: int) -> str:
    """``recording pid 4711 (python3.11 …), 3 connections already open; Ctrl-C ends it``."""
    shown = cut(escape_controls(command.replace("\n", " ")), COMMAND_WIDTH)
    already = f", {count(open_connections, 'connection')} already open" if open_connections else ""
    return f"recording {subject} ({shown}){already}; Ctrl-C ends it"


def describe_progress(status: RecordingStatus) -> str:
    """One line on where the recording stands."""
    if status.ending_seconds:
        return f"{status.ending_seconds:.0f} s after its end: {_describe_writing(status)}"
    parts = [
        f"{status.seconds:.0f} s: {count(status.requests, 'request')}",
        count(status.test_cases, "test case"),
        count(status.mocks, "mock"),
        count(status.captured_bytes, "byte"),
    ]
    if status.lost_events or status.lost_bytes:
        parts.append(_describe_loss(status))
    return ", ".join(parts)


def _describe_writing(status: RecordingStatus) -> str:
    written = f"writing, {count(status.test_cases, 'test case')} so far"
    if not status.backlog_bytes:
        return written
    return f"{written}, {count(status.backlog_bytes, 'byte')} still to be read"


def summarise(status: RecordingStatus, path: Path) -> list[str]:
    """The summary line, then a line for each thing that is not in the recording, and why."""
    lines = [
        f"{_describe_yield(status)} in {status.seconds:.1f} s → {path}; "
        f"captured {show_share(status)} of {count(_sum_up(status), 'byte')} on "
        f"{count(status.connections, 'connection')}"
    ]
    lines += [
        f"{count(number, 'connection')} left out by {option}"
        for option, number in status.filtered.items()
    ]
    if not status.requests and status.mocks:
        lines.append(f"to run a command on these mocks: kebpf mock {path} -- COMMAND")
    if status.lost_events or status.lost_bytes:
        lines.append(f"lost: {_describe_loss(status)}; no case they belong to was kept")
    if status.given_up:
        lines.append(
            f"{count(status.given_up, 'connection')} given up: more came than could be taken in "
            f"({count(status.given_up_bytes, 'byte')}); no case they may belong to was kept"
        )
    lines += [
        f"{count(number, 'connection')} do not add up: {reason}; this is an error of kebpf's"
        for reason, number in sorted(status.unbalanced.items())
    ]
    if status.unparsed_connections:
        number = count(status.unparsed_connections, "connection")
        lines.append(f"not parsed: {number}, in no protocol known here")
    lines += [
        f"left out: {count(number, 'exchange')}: {escape_controls(reason)}"
        for reason, number in sorted(status.left_out.items(), key=lambda item: (-item[1], item[0]))
    ]
    return lines + [f"note: {escape_controls(note)}" for note in status.notes]


def _describe_yield(status: RecordingStatus) -> str:
    if not status.requests and (status.mocks or status.left_out):
        return f"no requests were served; {count(status.mocks, 'call')} recorded as mocks"
    return (
        f"{count(status.test_cases, 'test case')}, {count(status.mocks, 'mock')} from "
        f"{count(status.requests, 'request')}"
    )


def show_share(status: RecordingStatus) -> str:
    """The captured part of all bytes; never 100 % when even one is missing."""
    total = _sum_up(status)
    if status.captured_bytes == total:
        return "100 %"
    return f"{math.floor(10_000 * status.captured_bytes / total) / 100:.2f} %"


def _sum_up(status: RecordingStatus) -> int:
    return status.captured_bytes + status.lost_bytes + status.given_up_bytes


def summary_object(status: RecordingStatus, path: Path) -> dict[str, Any]:
    """What ``record --json`` ends with."""
    return {
        "test_cases": status.test_cases,
        "mocks": status.mocks,
        "events": status.events,
        "bytes": status.captured_bytes,
        "lost_events": status.lost_events,
        "lost_bytes": status.lost_bytes,
        "connections": status.connections,
        "proven_connections": status.proven,
        "unbalanced_connections": sum(status.unbalanced.values()),
        "given_up_connections": status.given_up,
        "given_up_bytes": status.given_up_bytes,
        "unparsed_connections": status.unparsed_connections,
        "seconds": round(status.seconds, 3),
        "path": str(path),
        "left_out": dict(status.left_out),
        "left_out_connections": dict(status.filtered),
    }


def _describe_loss(status: RecordingStatus) -> str:
    return f"{count(status.lost_events, 'event')} and {count(status.lost_bytes, 'byte')} lost"


class PlainDisplay:
    """Lines for logs: the opening, progress every ten seconds at most, the summary."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next_progress = PROGRESS_INTERVAL

    def start(self, opening: str) -> None:
        self._write(opening)

    def update(self, status: RecordingStatus) -> None:
        seconds = status.seconds + status.ending_seconds
        if seconds >= self._next_progress:
            self._next_progress = seconds + PROGRESS_INTERVAL
            self._write(describe_progress(status))

    def finish(self, status: RecordingStatus, path: Path) -> None:
        for line in summarise(status, path):
            self._write(line)

    def close(self) -> None:
        self._out.flush()

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class LiveDisplay:
    """A view that is redrawn in place, then the same summary as on plain output."""

    def __init__(self, out: TextIO) -> None:
        self._plain = PlainDisplay(out)
        self._out = out
        self._live: Live | None = None

    def start(self, opening: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._plain.start(opening)
        console = Console(file=self._out, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False
        )
        self._live.start()

    def update(self, status: RecordingStatus) -> None:
        if self._live is not None:
            self._live.update(_draw_status(status), refresh=True)

    def finish(self, status: RecordingStatus, path: Path) -> None:
        self.close()
        self._plain.finish(status, path)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _draw_status(status: RecordingStatus) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value, style in _status_rows(status):
        table.add_row(Text(name, "dim"), Text(value, style))
    return table


def _status_rows(status: RecordingStatus) -> list[tuple[str, str, str]]:
    lost = status.lost_events or status.lost_bytes
    rows = [
        ("elapsed", f"{status.seconds:.0f} s", ""),
        ("requests", f"{status.requests:,}", ""),
        ("test cases", f"{status.test_cases:,}", "bold"),
        ("mocks", f"{status.mocks:,}", "bold"),
        ("captured", f"{count(status.captured_bytes, 'byte')}", ""),
        ("lost", _describe_loss(status) if lost else "nothing", "bold red" if lost else ""),
    ]
    if status.ending_seconds:
        rows.append(("ended", _describe_writing(status), "bold"))
    ranked = sorted(status.destinations.items(), key=lambda item: -item[1]["calls"])
    for name, seen in ranked[:DESTINATION_LIMIT]:
        rows.append((seen["protocol"], f"{name}  {count(seen['calls'], 'call')}", "cyan"))
    if len(ranked) > DESTINATION_LIMIT:
        rows.append(("", f"and {len(ranked) - DESTINATION_LIMIT} more destinations", "dim"))
    return rows
