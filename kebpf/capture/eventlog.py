"""The event log: what the kernel sent, on disk, so that user space can run without a kernel.

A log is a JSON line (format version, clock, target), then ring records exactly as the kernel
wrote them.  It holds unredacted bytes: it is written only when a person asks for it, mode 0600.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from kebpf.capture.events import Event, EventError, decode_run, whole_size

LOG_VERSION = 1
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class LogHead:
    """The first line: what the events alone do not say.

    ``clock_offset_ns`` added to an event's time gives nanoseconds since the Unix epoch;
    ``listening`` are the target's listening ports when recording began.
    """

    clock_offset_ns: int
    pids: list[int]
    listening: list[int] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    executable: str = ""
    kernel: str = ""
    version: int = LOG_VERSION


class EventLogWriter:
    """Appends runs of records to a new file.  Methods raise ``OSError``."""

    def __init__(self, path: Path, head: LogHead) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        self._file.write(json.dumps(asdict(head)).encode() + b"\n")

    def write(self, run: bytes) -> None:
        self._file.write(run)

    def close(self) -> None:
        self._file.close()


class EventLog:
    """A log to read; raises `EventError` for a file that is none, ``OSError`` as open does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            line = file.readline(1 << 20)
        try:
            values = json.loads(line)
            version = values["version"]
        except (ValueError, KeyError, TypeError):
            raise EventError(f"{path} is not a kebpf event log") from None
        if version != LOG_VERSION:
            raise EventError(f"{path} is an event log of version {version}, not {LOG_VERSION}")
        self.head = LogHead(**values)
        self._start = len(line)

    def runs(self) -> Iterator[bytes]:
        """Runs of whole records, in order.  Raises `EventError` when the last is cut off."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            rest = b""
            while chunk := file.read(_READ_SIZE):
                rest += chunk
                whole = whole_size(rest)
                yield rest[:whole]
                rest = rest[whole:]
        if rest:
            raise EventError(f"{self._path} ends within a record")

    def events(self) -> Iterator[Event]:
        """All events in order.  Raises `EventError` at a damaged record."""
        for run in self.runs():
            yield from decode_run(run)
