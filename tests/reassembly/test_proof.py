"""The proof holds for what adds up, and for nothing else."""

from __future__ import annotations

import pytest

from kebpf.capture.events import Direction, GapReason, decode_run
from kebpf.reassembly.proof import END_UNKNOWN, KernelCount
from kebpf.reassembly.tracker import Tracker
from tests.capture.records import Socket, make_record
from tests.capture.tap import Collector

IN, OUT = Direction.INGRESS, Direction.EGRESS
GIVEN_UP = 8  # KEBPF_GIVEN_UP


def track(*records: bytes) -> Tracker:
    tracker = Tracker(Collector())
    for record in records:
        for event in decode_run(record):
            tracker.feed(event)
    return tracker


def give_up(one: Socket, dropped_in: int, dropped_out: int) -> bytes:
    sizes = dropped_in.to_bytes(8, "little") + dropped_out.to_bytes(8, "little")
    return make_record(one.head(GIVEN_UP) + sizes)


def reasons_of(tracker: Tracker) -> list[str]:
    return list(tracker.proof.reasons)


def test_bytes_gaps_losses_and_what_was_thrown_away_add_up() -> None:
    one = Socket()
    records = [one.open(), one.send(b"abc"), one.gap(OUT, 10, GapReason.LIMIT), one.receive(b"d")]
    one.lose(IN, 5)
    records += [one.receive(b"e"), give_up(one, 0, 0)]
    one.moved[OUT] += 77
    records += [give_up(one, 0, 77), one.close()]
    tracker = track(*records)
    assert (tracker.proof.proven, reasons_of(tracker)) == (1, [])
    totals = tracker.totals()
    assert (totals.captured_size, totals.gap_size, totals.given_up_size) == (5, 15, 77)
    assert totals.given_up == 1
    assert sum(one.moved) == 5 + 15 + 77


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (-1, "more bytes came than the kernel counted"),
        (0, None),
        (1, None),  # a byte is missing: a gap, which adds up
    ],
)
def test_the_kernels_count(change: int, reason: str | None) -> None:
    one = Socket()
    records = [one.open(), one.send(b"abc")]
    one.moved[OUT] += change
    assert reasons_of(track(*records, one.close())) == ([] if reason is None else [reason])


def test_bytes_that_came_twice() -> None:
    one = Socket()
    opened, sent = one.open(), one.send(b"abc")
    assert reasons_of(track(opened, sent, sent, one.close())) == ["bytes came twice"]


def test_losses_that_are_nowhere_missing() -> None:
    one = Socket()
    records = [one.open(), one.send(b"abc")]
    one.lost[OUT] = 1
    tracker = track(*records, one.close())
    assert reasons_of(tracker) == ["fewer bytes are missing than were withheld"]
    [name] = tracker.proof.named
    assert name.startswith("10.0.0.1:40000 → 10.0.0.2:80: fewer bytes")


def test_an_end_that_nobody_told() -> None:
    one, other = Socket(address=1), Socket(address=2)
    tracker = track(one.open(), one.send(b"abc"), other.open())
    tracker.finish({(2, other.generation): KernelCount((0, 0))})
    assert (tracker.proof.proven, reasons_of(tracker)) == (1, [END_UNKNOWN])


def test_a_log_says_nothing_of_what_was_open() -> None:
    one = Socket()
    tracker = track(one.open(), one.send(b"abc"))
    tracker.finish(None)
    assert (tracker.proof.proven, reasons_of(tracker)) == (0, [])
