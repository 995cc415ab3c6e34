"""The agent's log: one line an entry on standard error, with the priority where journald reads it.

Sentences of the agent's own only: nothing of what crossed a socket is ever in them.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Mapping
from typing import TextIO

_MOST_LENGTH = 500


class Priority(enum.IntEnum):
    """As in syslog(3)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


class Journal:
    """Writes lines; ``<6>`` stands before them where systemd reads them (sd-daemon(3))."""

    def __init__(
        self, out: TextIO | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        known = os.environ if environment is None else environment
        self._out = sys.stderr if out is None else out
        self._is_prefixed = "JOURNAL_STREAM" in known or "NOTIFY_SOCKET" in known

    def info(self, sentence: str) -> None:
        self._write(Priority.INFO, sentence)

    def notice(self, sentence: str) -> None:
        self._write(Priority.NOTICE, sentence)

    def warn(self, sentence: str) -> None:
        self._write(Priority.WARNING, sentence)

    def error(self, sentence: str) -> None:
        self._write(Priority.ERROR, sentence)

    def _write(self, priority: Priority, sentence: str) -> None:
        shown = "".join(one if one.isprintable() else "?" for one in " ".join(sentence.split()))
        prefix = f"<{priority}>" if self._is_prefixed else ""
        try:
            self._out.write(f"{prefix}{shown[:_MOST_LENGTH]}\n")
            self._out.flush()
        except OSError:
            return  # nobody reads it any more: no reason to end
