"""Judges the fresh times of one message against each other: their order and their distances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from kebpf.recording import times
from kebpf.recording.templates import is_time_class, split_time_class
from kebpf.recording.times import SECOND_NS, Window

HALF_NS = SECOND_NS // 2

Reading = tuple[int, int]  # recorded and actual instant, both less their shift, nanoseconds


def keep_step(pairs: Iterable[tuple[str, str, str]], window: Window | None) -> bool:
    """Whether times that the program made for one message relate as the recorded ones do.

    ``pairs`` are ``(class, recorded, actual)``.  Fine times keep their order.  Whole seconds
    that were one instant, an issue and an expiry say, still are, unless the window leaves room
    for the clock to have ticked in between.
    """
    fine: dict[str, list[Reading]] = defaultdict(list)
    coarse: list[Reading] = []
    for class_name, recorded, actual in pairs:
        if not is_time_class(class_name) or not class_name.startswith("time:"):
            continue
        format_, shift_s = split_time_class(class_name)
        old, new = (times.parse_in_format(text, format_) for text in (recorded, actual))
        if old is None or new is None:
            continue
        shift_ns = round(shift_s * SECOND_NS)
        reading = old.time_ns - shift_ns, new.time_ns - shift_ns
        if old.resolution_ns <= 1_000_000:
            fine[format_].append(reading)
        elif old.resolution_ns == SECOND_NS and not format_.startswith("%a, "):
            coarse.append(reading)
    return all(map(_keeps_order, fine.values())) and _keeps_distance(coarse, window)


def _keeps_order(readings: Sequence[Reading]) -> bool:
    latest_ns, group_ns = None, None
    for recorded_ns in sorted({recorded for recorded, _ in readings}):
        group = [actual for recorded, actual in readings if recorded == recorded_ns]
        if latest_ns is not None and min(group) < latest_ns:
            return False
        group_ns = max(group)
        latest_ns = group_ns if latest_ns is None else max(latest_ns, group_ns)
    return True


def _keeps_distance(readings: Sequence[Reading], window: Window | None) -> bool:
    if len(readings) < 2:
        return True
    most_ns = SECOND_NS if window is None or _may_tick(window) else 0
    by_instant: dict[int, list[int]] = defaultdict(list)
    for recorded, actual in readings:
        by_instant[recorded].append(actual)
    return all(max(group) - min(group) <= most_ns for group in by_instant.values())


def _may_tick(window: Window) -> bool:
    """Whether seconds, cut off or rounded, may change within the window."""
    slack = times.FINE_SLACK_NS
    return (window.start_ns - slack) // HALF_NS != (window.end_ns + slack) // HALF_NS
