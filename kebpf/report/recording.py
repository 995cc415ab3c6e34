"""What people see of a recording: that it runs, how it goes, and what it came to."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from kebpf.report.lines import count, fill
from kebpf.report.recorded import (
    RecordingStatus,
    describe_loss,
    describe_progress,
    describe_writing,
    summarise,
)

if TYPE_CHECKING:  # rich costs memory and start time, which only a terminal is worth
    from rich.live import Live
    from rich.table import Table

PROGRESS_INTERVAL = 10.0
WIDTH = 80  # columns of a terminal, or what it has if that is less
INDENT = "  "
DESTINATION_LIMIT = 12


class RecordingDisplay(Protocol):
    """Shows a recording as it goes."""

    def start(self, opening: str) -> None:
        """The capture has begun; ``opening`` comes from `describe_opening`."""

    def announce(self, sentence: str) -> None:
        """Something happened that a person should know."""

    def update(self, status: RecordingStatus) -> None:
        """Takes the newest status; may be called as often as is convenient."""

    def finish(self, status: RecordingStatus, path: Path) -> None:
        """The recording is on disk under ``path``: shows the summary."""

    def close(self) -> None:
        """Gives the terminal back, whether the recording was finished or not."""


def open_display(out: TextIO) -> RecordingDisplay:
    """A live view if ``out`` is a terminal, else plain lines."""
    return LiveDisplay(out) if out.isatty() else PlainDisplay(out)


class PlainDisplay:
    """Lines for logs: the opening, progress every ten seconds at most, the summary."""

    def __init__(self, out: TextIO, width: int | None = None) -> None:
        self._out = out
        self._width = width  # in columns; None for lines of any length
        self._next_progress = PROGRESS_INTERVAL

    def start(self, opening: str) -> None:
        self._write(opening)

    def announce(self, sentence: str) -> None:
        self._write(sentence)

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
        for part in (line,) if self._width is None else wrap(line, self._width):
            self._out.write(part + "\n")
        self._out.flush()


def wrap(line: str, width: int) -> list[str]:
    """A line in lines of at most ``width`` columns: at semicolons if it can be, never in a path."""
    parts = line.split("; ")
    clauses = [f"{part};" for part in parts[:-1]] + parts[-1:]
    lines: list[str] = []
    for clause in fill(clauses, width - len(INDENT), " "):
        lines += textwrap.wrap(
            clause,
            width,
            initial_indent=INDENT if lines else "",
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


class LiveDisplay:
    """A view that is redrawn in place, then the same summary as on plain output."""

    def __init__(self, out: TextIO) -> None:
        columns = shutil.get_terminal_size((WIDTH, 0)).columns
        self._plain = PlainDisplay(out, min(WIDTH, columns))
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

    def announce(self, sentence: str) -> None:
        if self._live is not None:
            self._live.console.print(sentence, soft_wrap=True)

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


def _show_requests(status: RecordingStatus) -> str:
    unique = "" if status.unique is None else f" → {status.unique:,} unique"
    return f"{status.requests:,}{unique}"


def _status_rows(status: RecordingStatus) -> list[tuple[str, str, str]]:
    lost = status.lost_events or status.lost_bytes
    rows = [
        ("elapsed", f"{status.seconds:.0f} s", ""),
        ("requests", _show_requests(status), ""),
        ("test cases", f"{status.test_cases:,}", "bold"),
        ("mocks", f"{status.mocks:,}", "bold"),
        ("captured", f"{count(status.captured_bytes, 'byte')}", ""),
        ("lost", describe_loss(status) if lost else "nothing", "bold red" if lost else ""),
    ]
    if status.ending_seconds:
        rows.append(("ended", describe_writing(status), "bold"))
    ranked = sorted(status.destinations.items(), key=lambda item: -item[1]["calls"])
    for name, seen in ranked[:DESTINATION_LIMIT]:
        rows.append((seen["protocol"], f"{name}  {count(seen['calls'], 'call')}", "cyan"))
    if len(ranked) > DESTINATION_LIMIT:
        rows.append(("", f"and {len(ranked) - DESTINATION_LIMIT} more destinations", "dim"))
    return rows
