"""Live counters of a recording, for the recorder's display."""

from __future__ import annotations

from dataclasses import dataclass, field

DESTINATIONS_CAP = 1000
REASONS_CAP = 200
OTHER = "others"


@dataclass(slots=True)
class RecordingStats:
    """What has been seen and made so far.

    ``requests`` are inbound exchanges of all protocols; ``left_out`` counts by reason what was
    kept out of the test set, ``set_apart`` the cases that are not to be run, ``destinations``
    the calls by destination.  ``unique`` shapes of requests there were, where that is looked at.
    """

    requests: int = 0
    test_cases: int = 0
    mocks: int = 0
    unique: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    set_apart: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, int] = field(default_factory=dict)

    def count_left_out(self, reason: str) -> None:
        """One more exchange is kept out."""
        _count(self.left_out, reason, REASONS_CAP)

    def count_apart(self, reason: str) -> None:
        """One case that was written is kept, but not among those to run."""
        self.test_cases -= 1
        _count(self.set_apart, reason, REASONS_CAP)

    def count_call(self, destination: str) -> None:
        """One more call to a destination was seen."""
        _count(self.destinations, destination, DESTINATIONS_CAP)


def _count(counts: dict[str, int], key: str, cap: int) -> None:
    if key not in counts and len(counts) >= cap:
        key = OTHER
    counts[key] = counts.get(key, 0) + 1
