"""Notices soon which connections lost records to a full ring: their gaps alone tell it late.

A call whose request and answer were both lost leaves no trace until its connection is used again,
perhaps minutes later, when the case it belongs to has long been written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from kebpf.capture.events import LOSS_TAIL, Kind, make_record
from kebpf.capture.head import HEAD
from kebpf.capture.probes import Moved


class Counters(Protocol):
    """What is looked at: `kebpf.capture.probes.Probes`."""

    def counts(self) -> Mapping[str, int]: ...

    def open_connections(self) -> list[Moved]: ...


class LossWatch:
    """Compares the kernel's counters with those of the last look."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._since_ns = time.monotonic_ns()
        self._lost_events = 0
        self._lost_bytes: dict[tuple[int, int], int] = {}
        self._named_size = 0  # lost bytes of which the connection was found
        self._unnamed_size = 0

    def look(self) -> list[bytes]:
        """A KEBPF_LOSS record for each connection that lost something since the last look."""
        now_ns = time.monotonic_ns()
        counts = self._counters.counts()
        lost_events = counts["lost_events"]
        found = self._compare(counts["lost_bytes"]) if lost_events != self._lost_events else []
        records = [_make_loss(now_ns, key, self._since_ns) for key in found]
        self._since_ns, self._lost_events = now_ns, lost_events
        return records

    def _compare(self, lost_size: int) -> list[tuple[int, int]]:
        found = []
        before, self._lost_bytes = self._lost_bytes, {}
        for one in self._counters.open_connections():
            key, lost = (one.socket, one.generation), sum(one.lost)
            if lost > before.get(key, 0):
                found.append(key)
                self._named_size += lost - before.get(key, 0)
            if lost:
                self._lost_bytes[key] = lost
        unnamed_size = lost_size - self._named_size
        if unnamed_size > self._unnamed_size:  # of connections that are closed by now
            self._unnamed_size = unnamed_size
            found.append((0, 0))
        return found or [(0, 0)]


def _make_loss(now_ns: int, key: tuple[int, int], since_ns: int) -> bytes:
    head = HEAD.pack(now_ns, *key, 0, 0, Kind.LOSS, 0, 0, 0, 0)
    return make_record(head + LOSS_TAIL.pack(since_ns))
