"""Which connections are given up to keep to a rate, and that each byte of them is counted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.capping import BURST_SECONDS, WINDOW_SECONDS, Rate, RateCap
from kebpf.capture.events import Data, GivenUp, Open, SocketRole, decode_run
from tests.capture.records import Socket

SERVED: dict[str, Any] = {
    "role": SocketRole.SERVER,
    "local": ("10.0.0.1", 80),
    "remote": ("10.0.0.9", 4000),
}
LIMIT = 1000


class Capped:
    """A cap with a clock of its own, and what it let through."""

    def __init__(self, rate: Rate, listening: tuple[int, ...] = ()) -> None:
        self.now = 0.0
        self.cap = RateCap(rate, listening, lambda: self.now)
        self.kept = b""

    def feed(self, *records: bytes) -> None:
        self.kept += self.cap.sift(b"".join(records))

    def given_up(self) -> dict[int, tuple[int, int]]:
        events = decode_run(self.kept + b"".join(self.cap.finish()))
        return {one.head.socket: one.dropped for one in events if isinstance(one, GivenUp)}

    def size_of(self, one: Socket) -> int:
        events = decode_run(self.kept)
        pieces = [event for event in events if isinstance(event, Data)]
        return sum(event.size for event in pieces if event.head.socket == one.address)


def test_below_the_rate_every_byte_stays() -> None:
    capped, one = Capped(Rate(bytes=LIMIT)), Socket(address=1)
    records = [one.open(**SERVED), one.receive(b"a" * 500), one.send(b"b" * 400), one.close()]
    capped.feed(*records)
    assert (capped.kept, capped.cap.capped) == (b"".join(records), 0)


def test_a_burst_is_let_through_and_then_whole_connections_go() -> None:
    capped = Capped(Rate(bytes=LIMIT))
    large, small, call = (Socket(address=number) for number in (1, 2, 3))
    capped.feed(large.open(**SERVED), small.open(**SERVED), call.open())
    capped.feed(large.receive(b"x" * int(LIMIT * BURST_SECONDS)))
    assert capped.given_up() == {}
    capped.feed(large.receive(b"x" * 90), small.receive(b"y" * 10), call.send(b"z" * 200))
    assert capped.given_up() == {1: (0, 0)}, "the busiest, not a call"
    capped.feed(large.receive(b"x" * 7), small.send(b"y" * 8), call.send(b"z" * 9))
    assert capped.given_up() == {1: (7, 0)}
    assert (capped.cap.capped, capped.size_of(small), capped.size_of(call)) == (1, 18, 209)


def test_where_that_does_not_do_more_go_and_calls_last() -> None:
    capped = Capped(Rate(bytes=LIMIT))
    served, call = Socket(address=1), Socket(address=2)
    capped.feed(served.open(**SERVED), served.receive(b"x"), call.open())
    for _ in range(4):
        capped.feed(served.receive(b"x" * 50), call.send(b"z" * LIMIT))
        capped.now += WINDOW_SECONDS / 2
    assert capped.given_up() == {1: (50, 0)}, "a call that is not seen costs every case"
    for _ in range(4):
        capped.feed(call.send(b"z" * LIMIT))
        capped.now += WINDOW_SECONDS / 2
    assert set(capped.given_up()) == {1, 2}, "there is nothing else to give"


def test_what_is_only_a_little_late_is_no_reason_to_give_up_more() -> None:
    """One connection was too much; the deficit it left is no other's fault."""
    capped, large, call = Capped(Rate(bytes=LIMIT)), Socket(address=1), Socket(address=2)
    much = [large.receive(b"x" * 10 * LIMIT) for _ in range(10)]
    capped.feed(large.open(**SERVED), call.open(), *much)
    for _ in range(60):
        capped.now += 0.1
        capped.feed(call.send(b"z" * (LIMIT // 20)))
    assert set(capped.given_up()) == {1}
    late = Socket(address=3)
    capped.feed(late.open(**SERVED), late.receive(b"y"))
    assert capped.size_of(late) == 1, "and it is over after a while"


def test_while_too_much_comes_no_new_request_is_taken_and_later_they_are() -> None:
    capped, old, new, late = Capped(Rate(bytes=LIMIT)), *map(Socket, (1, 2, 3))
    capped.feed(old.open(**SERVED), old.receive(b"x" * 5 * LIMIT))
    capped.feed(new.open(**SERVED), new.receive(b"y" * 30), new.send(b"z" * 40), new.close())
    assert capped.given_up() == {1: (0, 0), 2: (30, 40)}
    events = [type(one) for one in decode_run(capped.kept) if one.head.socket == 2]
    assert events.index(Open) < events.index(GivenUp), "it is known before it is given up"
    capped.now += 10
    capped.feed()
    capped.feed(late.open(**SERVED), late.receive(b"y" * 30))
    assert (capped.size_of(late), capped.cap.capped) == (30, 2)


def test_events_are_capped_likewise() -> None:
    capped, one = Capped(Rate(events=10)), Socket(address=1)
    capped.feed(one.open(**SERVED), *(one.receive(b"x") for _ in range(20)))
    assert capped.given_up() == {}
    capped.feed(one.receive(b"x"))
    assert capped.given_up() == {1: (0, 0)}


def test_what_was_open_before_is_told_by_its_port() -> None:
    capped, served, call = Capped(Rate(bytes=LIMIT), (80,)), Socket(address=1), Socket(address=2)
    capped.feed(
        served.open(SocketRole.UNKNOWN, ("10.0.0.1", 80), ("10.0.0.9", 4000)),
        call.open(SocketRole.UNKNOWN),
        call.send(b"z" * 3 * LIMIT),
        served.receive(b"x"),
    )
    assert capped.given_up() == {1: (0, 0)}


STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(1, 900)), max_size=60)


@given(STEPS, st.integers(1, 8))
def test_every_byte_is_kept_or_counted_and_no_connection_is_half_there(
    steps: list[tuple[int, int, int]], per_run: int
) -> None:
    capped = Capped(Rate(bytes=LIMIT))
    sockets = [Socket(address=1 + number) for number in range(5)]
    capped.feed(*(one.open(**SERVED) for one in sockets))
    sent = {one.address: [0, 0] for one in sockets}
    records = []
    for number, way, size in steps:
        sent[1 + number][way] += size
        records.append(sockets[number].data(way, b"x" * size))
    for at in range(0, len(records), per_run):
        capped.now += 0.1
        capped.feed(*records[at : at + per_run])
    dropped = capped.given_up()
    seen_after = set()
    for event in decode_run(capped.kept):
        if isinstance(event, GivenUp):
            seen_after.add(event.head.socket)
        elif isinstance(event, Data):
            assert event.head.socket not in seen_after
    for one in sockets:
        total = capped.size_of(one) + sum(dropped.get(one.address, (0, 0)))
        assert total == sum(sent[one.address])
    assert capped.cap.capped == len(dropped)
