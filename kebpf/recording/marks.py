"""When a recording that is to outlive any end says where it stands, and sees to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable

MARK_SECONDS = 5.0  # at least, between two notes of what a recovered set is to say
SYNC_SECONDS = 30.0  # at least: what a power cut may cost


class Marks:
    """``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._synced = clock()
        self._due = self._begun
        self._state: object = None
        self._is_dirty = False

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._begun

    def is_due(self, state: object) -> bool:
        """Whether there is something to say, and some time after the last word."""
        if state == self._state or self._clock() < self._due:
            return False
        self._state, self._due, self._is_dirty = state, self._clock() + MARK_SECONDS, True
        return True

    def is_sync_due(self) -> bool:
        """Whether there is something new to be put on the disk for good."""
        if not self._is_dirty or self._clock() - self._synced < SYNC_SECONDS:
            return False
        self._synced, self._is_dirty = self._clock(), False
        return True
