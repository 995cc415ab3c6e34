"""The application's output: the last lines kept, all of it to a file or to a listener if wanted."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

TAIL_LINES = 200
LINE_SIZE_LIMIT = 8192  # a longer line is cut into pieces, so the tail's size has a bound


class OutputTail:
    """Takes output in pieces of any size and keeps its last ``TAIL_LINES`` lines."""

    def __init__(
        self, on_line: Callable[[str], None] | None = None, log: BinaryIO | None = None
    ) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._partial = b""
        self._on_line = on_line
        self._log = log

    @property
    def lines(self) -> list[str]:
        """The last lines, the unfinished one included."""
        lines = list(self._lines)
        if self._partial:
            lines.append(_decode(self._partial))
        return lines[-TAIL_LINES:]

    def receive_data(self, data: bytes) -> None:
        """Takes the next piece of output."""
        if self._log is not None:
            self._log.write(data)
        *whole, self._partial = (self._partial + data).split(b"\n")
        for line in whole:
            self._add(line)
        while len(self._partial) > LINE_SIZE_LIMIT:
            self._add(self._partial[:LINE_SIZE_LIMIT])
            self._partial = self._partial[LINE_SIZE_LIMIT:]

    def close(self) -> None:
        """The output has ended."""
        if self._partial:
            self._add(self._partial)
            self._partial = b""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _add(self, line: bytes) -> None:
        for start in range(0, len(line) or 1, LINE_SIZE_LIMIT):
            text = _decode(line[start : start + LINE_SIZE_LIMIT])
            self._lines.append(text)
            if self._on_line is not None:
                self._on_line(text)


def open_log(path: Path, uid: int, gid: int) -> BinaryIO:
    """Opens a file for the whole output, readable by its owner only.  Raises ``OSError``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    if os.geteuid() == 0:
        os.fchown(descriptor, uid, gid)
    return os.fdopen(descriptor, "wb", buffering=0)


def _decode(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "replace")
