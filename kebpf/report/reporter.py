"""What every reporter is: a handler of run events."""

from __future__ import annotations

from typing import Protocol

from kebpf.replay.events import RunEvent


class Reporter(Protocol):
    """Takes the events of one run in order; writes its report as they come or at the end."""

    def handle(self, event: RunEvent) -> None:
        """Takes the next event."""

    def close(self) -> None:
        """The run is over, maybe without its last event: writes what is still to be written."""
