"""The event log: what the kernel sent, on disk, so that user space can run without a kernel.

A log is a JSON line (format version, clock, target), then ring records exactly as the kernel
wrote them.  It holds unredacted bytes: it is written only when a person asks for it, mode 0600.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from kebpf.capture.events import Event, EventError, decode_run, whole_size

LOG_VERSION = 4
_READABLE = (3, 4)  # 4 has more kinds of events
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class LogHead:
    """The first line: what the events alone do not say.

    ``clock_offset_ns`` added to an event's time gives nanoseconds since the Unix epoch;
    ``listening`` are the target's listening ports when recording began, ``sockets`` the inodes
    of the sockets it had open.  ``target`` says what was
    recorded, ``filters`` which options left connections out, ``with_tls`` whether TLS libraries
    were looked into.
    """

    clock_offset_ns: int
    pids: list[int]
    listening: list[int] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    executable: str = ""
    kernel: str = ""
    target: str = ""
    filters: list[str] = field(default_factory=list)
    with_tls: bool = True
    version: int = LOG_VERSION


class EventLogWriter:
    """Appends to a new file, owned by ``owner`` (uid, gid) if one is given.

    All methods raise ``OSError``, the constructor also where the file exists.
    """

    def __init__(self, path: Path, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        if owner is not None:
            os.fchown(descriptor, *owner)

    def begin(self, head: LogHead) -> None:
        """The first line; before any `write`."""
        self._file.write(json.dumps(asdict(head)).encode() + b"\n")

    def write(self, run: bytes) -> None:
        """Appends whole ring records."""
        self._file.write(run)

    def close(self) -> None:
        """What was written is in the file."""
        self._file.close()

    def abort(self) -> None:
        """Removes the file; does nothing after `close`."""
        if self._file.closed:
            return
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk: the file is gone already
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
            if version not in _READABLE:
                raise EventError(f"{path} is an event log of version {version}, not {LOG_VERSION}")
            self.head = LogHead(**values)
        except (ValueError, LookupError, TypeError, RecursionError):
            raise EventError(f"{path} is not a kebpf event log") from None
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
