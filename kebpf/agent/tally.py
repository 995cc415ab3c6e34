"""What one target came to since the agent began: counters, rates, the last set and error."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.agent.recorder import COUNTED
from kebpf.agent.worker import Worker

_RATE_SECONDS = 10.0


@dataclass(slots=True)
class Tally:
    """``totals`` are of recorders that have ended; `count` adds those that run."""

    totals: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    failures: int = 0
    sets: int = 0
    last_set: Path | None = None
    last_error: str = ""
    last_error_at: float = 0.0  # seconds since the epoch
    last_latency: float | None = None  # seconds
    longest_latency: float = 0.0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, worker: Worker) -> None:
        """Its numbers are final."""
        self.totals.update({name: worker.progress.get(name, 0) for name in COUNTED})

    def count(self, name: str, workers: Iterable[Worker]) -> int:
        """One of `COUNTED` over all, also those that still run."""
        return self.totals[name] + sum(int(one.progress.get(name, 0)) for one in workers)

    def sample(self, workers: Iterable[Worker]) -> None:
        """To be called often, for `rate`."""
        now = time.monotonic()
        self._samples.append((now, self.count("requests", workers)))
        while now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Requests a second over the last ten seconds."""
        if len(self._samples) < 2:
            return 0.0
        (begun, first), (ended, last) = self._samples[0], self._samples[-1]
        return max(0, last - first) / (ended - begun) if ended > begun else 0.0

    def note_error(self, error: str) -> None:
        self.failures += 1
        self.last_error, self.last_error_at = error, time.time()

    def note_set(self, folder: Path) -> None:
        self.sets += 1
        self.last_set = folder

    def note_latency(self, seconds: float) -> None:
        """From a process's beginning until it was watched."""
        self.last_latency = seconds
        self.longest_latency = max(self.longest_latency, seconds)
