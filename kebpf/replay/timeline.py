"""Notes when a case makes its outgoing calls, for reports that show them beside the recording."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kebpf.recording.model import Mock, TestCase
from kebpf.replay.call import Call
from kebpf.replay.events import CallTiming
from kebpf.replay.index import Recorded

MOST_TIMED = 200  # calls of one case
SECOND_NS = 1e9


@dataclass(frozen=True, slots=True)
class _Made:
    at_ns: int
    call: Call
    item: Recorded | None


class Timeline:
    """The calls of one case at a time; ``own_calls`` gives those it was recorded to make."""

    def __init__(
        self,
        own_calls: Callable[[], Iterable[Recorded]],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._own_calls = own_calls
        self._clock_ns = clock_ns
        self._start_ns: int | None = None
        self._made: list[_Made] = []

    def begin(self) -> None:
        """The request is sent now."""
        self._made.clear()
        self._start_ns = self._clock_ns()

    def note(self, call: Call, item: Recorded | None) -> None:
        """A call came now; ``item`` is what it was answered with, if that was the case's."""
        if self._start_ns is not None and len(self._made) < MOST_TIMED:
            self._made.append(_Made(self._clock_ns(), call, item))

    def finish(self, case: TestCase) -> list[CallTiming]:
        """The case's calls, made or not, in recorded order; to be asked before its end."""
        start_ns, self._start_ns = self._start_ns or 0, None
        found = [_time_made(made, start_ns, case) for made in self._made]
        names = {timing.mock for timing in found}
        own = (item for item in self._own_calls() if item.mock.name not in names)
        found += [_time_due(item, case) for item in own][: MOST_TIMED - len(found)]
        return sorted(found, key=_when)


def _when(timing: CallTiming) -> float:
    return timing.recorded_at if timing.recorded_at is not None else timing.at or 0.0


def _time_made(made: _Made, start_ns: int, case: TestCase) -> CallTiming:
    call, item = made.call, made.item
    name, at, seconds = _recorded_times(item.mock, case) if item else (None, None, None)
    came = (made.at_ns - start_ns) / SECOND_NS
    place = str(call.destination)
    return CallTiming(call.description, call.protocol, place, name, came, at, seconds)


def _time_due(item: Recorded, case: TestCase) -> CallTiming:
    name, at, seconds = _recorded_times(item.mock, case)
    mock = item.mock
    return CallTiming(
        item.description, mock.protocol, str(mock.destination), name, None, at, seconds
    )


def _recorded_times(mock: Mock, case: TestCase) -> tuple[str, float | None, float]:
    """Its name, when it began after the case's request, and how long it took.

    A mock that was recorded for another case has no time in this one.
    """
    seconds = (mock.timing.end_ns - mock.timing.start_ns) / SECOND_NS
    if mock.case != case.name:
        return mock.name, None, seconds
    return mock.name, (mock.timing.start_ns - case.timing.start_ns) / SECOND_NS, seconds
