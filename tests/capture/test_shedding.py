"""Which connections are given up, when, and that each byte of them is counted."""

from __future__ import annotations

import pytest

from kebpf.capture.events import (
    Close,
    Data,
    Event,
    EventError,
    GivenUp,
    SocketRole,
    decode_run,
)
from kebpf.capture.shedding import Shedder
from tests.capture.records import Socket, make_record

QUOTA = 1 << 20
DISCARDED = 1 << 30
CALM, FILLING, FULL = QUOTA // 4, QUOTA * 5 // 8, QUOTA * 7 // 8


def decode(run: bytes) -> list[Event]:
    return list(decode_run(run))


def data_of(run: bytes, socket: Socket) -> bytes:
    events = [one for one in decode(run) if isinstance(one, Data)]
    return b"".join(one.data for one in events if one.head.socket == socket.address)


def given_up_in(run: bytes) -> dict[int, tuple[int, int]]:
    return {one.head.socket: one.dropped for one in decode(run) if isinstance(one, GivenUp)}


def make_sockets() -> tuple[Socket, Socket, Socket]:
    return Socket(address=1), Socket(address=2), Socket(address=3)


def fill(shedder: Shedder, large: Socket, *others: Socket) -> bytes:
    """Three quarters come on one connection, and the mark is passed."""
    rest = [one.send(b"s" * 100) for one in others]
    size = 300 * len(others)
    assert given_up_in(shedder.sift(b"".join([large.send(b"l" * size), *rest]), FILLING)) == {}
    return shedder.sift(large.send(b"l" * size), FULL)


def test_while_there_is_room_nothing_is_looked_at() -> None:
    shedder = Shedder(QUOTA)
    assert shedder.sift(b"no records at all", CALM) == b"no records at all"


def test_the_largest_is_given_up_and_the_others_stay_whole() -> None:
    large, one, two = make_sockets()
    shedder = Shedder(QUOTA)
    assert given_up_in(fill(shedder, large, one, two)) == {1: (0, 0)}
    run = b"".join(
        [large.send(b"x" * 50), one.send(b"kept"), large.receive(b"y" * 7), two.receive(b"too")]
    )
    kept = shedder.sift(run, CALM)
    assert (data_of(kept, large), data_of(kept, one), data_of(kept, two)) == (b"", b"kept", b"too")
    assert decode(b"".join(shedder.finish()))[0].head.connection == (1, large.generation)
    assert given_up_in(b"".join(shedder.finish())) == {1: (7, 50)}


def test_gaps_are_counted_and_the_sums_come_before_the_end() -> None:
    large, one, two = make_sockets()
    shedder = Shedder(QUOTA)
    fill(shedder, large, one, two)
    kept = shedder.sift(
        large.send(b"abc") + large.gap(1, 40) + one.send(b"z") + large.close(), CALM
    )
    events = decode(kept)
    assert [type(event) for event in events] == [Data, GivenUp, Close]
    assert given_up_in(kept) == {1: (0, 43)}
    assert shedder.finish() == []


def test_the_address_of_one_given_up_can_be_used_again() -> None:
    large, one, two = make_sockets()
    shedder = Shedder(QUOTA)
    fill(shedder, large, one, two)
    again = Socket(address=1, generation=2000)
    run = large.close() + again.open(SocketRole.SERVER) + again.send(b"new")
    assert data_of(shedder.sift(run, CALM), again) == b"new"


def test_it_goes_on_until_nothing_is_left_that_moves() -> None:
    sockets = [Socket(address=number) for number in range(1, 17)]
    shedder = Shedder(QUOTA)
    left = set(range(1, 17))
    for share in (0.8, 0.91, 0.96, 0.985, 0.995):
        backlog = int(QUOTA * share)
        kept = shedder.sift(b"".join(one.send(b"d" * 100) for one in sockets), backlog)
        gone = set(given_up_in(kept))
        assert len(gone) >= len(left) / 2
        left -= gone
    assert left == set()


def test_a_backlog_that_was_parsed_lifts_the_mark() -> None:
    large, one, two = make_sockets()
    shedder = Shedder(QUOTA)
    fill(shedder, large, one, two)
    shedder.sift(one.send(b"."), CALM)
    assert given_up_in(shedder.sift(one.send(b"."), FILLING)) == {}


def test_what_was_discarded_is_passed_over() -> None:
    large, one, two = make_sockets()
    shedder = Shedder(QUOTA)
    fill(shedder, large, one, two)
    for discarded in (make_record(b"", DISCARDED), make_record(b"x" * 60, DISCARDED)):
        run = one.send(b"kept") + discarded + large.send(b"gone") + discarded
        kept = shedder.sift(run, CALM)
        assert (data_of(kept, one), data_of(kept, large)) == (b"kept", b"")


def test_a_damaged_record_is_an_error() -> None:
    one = Socket()
    shedder = Shedder(QUOTA)
    for run in (one.send(b"cut off")[:-8], one.send(b"x")[:20], make_record(b"busy", 1 << 31)):
        with pytest.raises(EventError):
            shedder.sift(run, FILLING)
