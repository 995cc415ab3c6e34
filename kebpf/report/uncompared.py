"""Which values of a response were not compared, and why."""

from __future__ import annotations

from collections import Counter

from kebpf.replay.events import CaseFinished
from kebpf.replay.headers import BODY_HEADERS, FRAMING_HEADERS

FRAMES_ONLY = "it only frames the message"
UNPLACED = "databases of calls, which were not known when recorded"
NOISE = "values that kebpf.yml declares noise"


def list_uncompared(case: CaseFinished) -> Counter[str]:
    """How many values at which place; all that is no framing header is a person's noise."""
    if not case.not_compared:
        return Counter()
    view = case.expected if isinstance(case.expected, dict) else {}
    found: Counter[str] = Counter(
        f"/{key}/{name.lower()}: {FRAMES_ONLY}"
        for key in ("headers", "trailers")
        for name, _ in view.get(key) or ()
        if isinstance(name, str) and name.lower() in FRAMING_HEADERS - BODY_HEADERS
    )
    if case.unplaced:
        found[UNPLACED] = case.unplaced
    if case.not_compared > found.total():
        found[NOISE] = case.not_compared - found.total()
    return found
