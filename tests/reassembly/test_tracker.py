"""The tracker over records made by hand: what a consumer is given, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.events import (
    Direction,
    EventError,
    GapReason,
    Kind,
    Operation,
    ProcessChange,
    SocketRole,
    Transport,
    decode_run,
)
from kebpf.reassembly.proof import KernelCount
from kebpf.reassembly.stream import MOST_HELD_SIZE
from kebpf.reassembly.tracker import MOST_EARLY_EVENTS, PATIENCE_NS, UNSEEN, Tracker
from tests.capture.records import Socket, make_record
from tests.capture.tap import Collector, Seen

IN, OUT = Direction.INGRESS, Direction.EGRESS


class Made:
    """A tracker with its consumer, fed by records."""

    def __init__(self, listening: tuple[int, ...] = (), joined: tuple[int, ...] = ()) -> None:
        self.collector = Collector()
        self.tracker = Tracker(self.collector, listening, joined)

    def feed(self, *records: bytes) -> Made:
        for record in records:
            for event in decode_run(record):
                self.tracker.feed(event)
        return self

    @property
    def seen(self) -> list[Seen]:
        return list(self.collector.seen.values())

    @property
    def only(self) -> Seen:
        (one,) = self.seen
        return one


def test_a_connection_from_open_to_close() -> None:
    one = Socket()
    made = Made().feed(
        one.open(), one.send(b"question"), one.receive(b"ans"), one.receive(b"wer"), one.close()
    )
    assert (made.only.egress, made.only.ingress) == (b"question", b"answer")
    assert made.only.connection.is_closed
    assert made.tracker.connections == []
    totals = made.tracker.totals()
    assert (totals.connections, totals.captured_size, totals.gap_size) == (1, 14, 0)


def test_pieces_are_put_in_order_by_their_sequence_numbers() -> None:
    one = Socket()
    opened = one.open()
    first, second, third = one.send(b"one "), one.send(b"two "), one.send(b"three")
    made = Made().feed(opened, third, second)
    assert made.only.egress == b""
    assert made.feed(first).only.egress == b"one two three"


def test_an_answer_waits_for_a_question_that_is_late() -> None:
    one = Socket()
    opened = one.open()
    question, more, answer = one.send(b"ques"), one.send(b"tion"), one.receive(b"answer")
    made = Made().feed(opened, more, answer)
    assert (made.only.egress, made.only.ingress) == (b"", b"")
    assert made.feed(question).only.ingress == b"answer"


def test_a_question_that_never_comes_holds_its_answer_up_for_so_long_only() -> None:
    one = Socket()
    opened = one.open()
    one.lose(OUT, 4)
    made = Made().feed(opened, one.send(b"tion"), one.receive(b"answer"))
    assert made.only.ingress == b""
    one.time_ns += 2 * PATIENCE_NS
    made.feed(one.receive(b"!"))
    made.tracker.release_late()
    assert (made.only.egress, made.only.ingress) == (b"tion", b"answer!")
    assert made.only.gaps(OUT) == [(0, 4)]


def test_what_is_held_up_has_a_cap() -> None:
    one = Socket()
    opened = one.open()
    one.lose(OUT, 4)
    made = Made().feed(opened, one.send(b"tion"))
    for _ in range(1 + MOST_HELD_SIZE // (1 << 14)):
        made.feed(one.receive(bytes(1 << 14)))
    assert made.only.egress == b"tion"
    assert len(made.only.ingress) == MOST_HELD_SIZE + (1 << 14)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_sequence_numbers_may_wrap_around(ingress: int, egress: int) -> None:
    one = Socket(first_sequence=(ingress, egress))
    made = Made().feed(one.open())
    for number in range(6):
        one.lose(OUT, 1 << 30)
        made.feed(one.send(b"%d" % number))
        one.time_ns += 2 * PATIENCE_NS
        made.feed(one.receive(b"x"))
        made.tracker.release_late()
    assert (made.only.egress, made.only.ingress) == (b"012345", b"xxxxxx")
    assert made.only.gaps(OUT)[0] == (0, 1 << 30)
    assert sum(size for _, size in made.only.gaps(OUT)) == 6 << 30


def test_what_came_before_the_opening_record_waits_for_it() -> None:
    one = Socket()
    opened, sent, ended = one.open(), one.send(b"early"), one.end(OUT)
    made = Made().feed(sent, ended)
    assert made.seen == []
    made.feed(opened)
    assert made.only.egress == b"early"
    assert made.only.ends == [OUT]
    assert made.tracker.totals().unopened_size == 0


def test_what_never_gets_an_opening_record_is_counted() -> None:
    one, two, three = Socket(address=1), Socket(address=2), Socket(address=3)
    made = Made().feed(one.send(b"12345"), one.close())
    two.lose(OUT, 7)
    made.feed(two.close())  # not even one of its records came
    made.feed(three.receive(b"abc"))
    made.tracker.finish({(3, 1000): KernelCount((11, 0)), (4, 1000): KernelCount((1, 1))})
    totals = made.tracker.totals()
    assert (totals.connections, totals.unopened_size) == (0, 5 + 7 + 11 + 2)


def test_early_events_have_a_cap() -> None:
    one = Socket()
    opened = one.open()
    made = Made().feed(*(one.send(b"x") for _ in range(MOST_EARLY_EVENTS + 10)), opened)
    assert len(made.only.egress) == MOST_EARLY_EVENTS
    made.feed(one.close())
    assert made.only.gaps(OUT) == [(MOST_EARLY_EVENTS, 10)]


def test_losses_are_gaps_where_they_were() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.send(b"ab"))
    one.lose(OUT, 3)
    made.feed(one.send(b"fg"))
    assert made.only.egress == b"ab"
    made.tracker.release_late()
    assert made.only.egress == b"ab"  # its patience is not over
    one.time_ns += PATIENCE_NS + 10_000
    made.feed(one.receive(b"later"))
    made.tracker.release_late()
    assert made.only.egress == b"abfg"
    assert made.only.gaps(OUT) == [(2, 3)]
    one.lose(IN, 6)
    made.feed(one.close())
    assert made.only.gaps(IN) == [(5, 6)]
    assert made.tracker.totals().gap_size == 9


def test_declared_gaps_say_which_call_it_was() -> None:
    one = Socket()
    made = Made().feed(
        one.open(),
        one.gap(OUT, 10, GapReason.NO_BUFFER),
        one.gap(OUT, 5, GapReason.NO_BUFFER),
        one.gap(IN, 1, GapReason.NO_BUFFER, Operation.SPLICE),
        one.send(b"x"),
    )
    assert made.only.gaps(OUT) == [(0, 15)]
    assert made.only.egress == b"x"
    assert made.only.connection.missing_payload == {"by sendfile": 15, "by splice": 1}


def test_the_end_of_a_stream_comes_behind_its_bytes() -> None:
    one = Socket()
    opened = one.open()
    first, second, ended = one.receive(b"one"), one.receive(b"two"), one.end(IN)
    made = Made().feed(opened, second, ended)
    assert made.only.ends == []
    made.feed(first)
    assert made.only.ingress == b"onetwo"
    assert made.only.ends == [IN]


def test_the_end_of_a_stream_comes_behind_its_gap() -> None:
    one = Socket()
    made = Made().feed(one.open())
    one.lose(IN, 5)
    made.feed(one.receive(b"x"), one.end(IN), one.close())
    assert made.only.gaps(IN) == [(0, 5)]
    assert made.only.ends == [IN]


def test_finish_compares_with_what_the_kernel_counted() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.send(b"abc"))
    made.tracker.finish({(one.address, one.generation): KernelCount((4, 9))})
    assert made.only.gaps(IN) == [(0, 4)]
    assert made.only.gaps(OUT) == [(3, 6)]
    assert made.only.connection.is_closed


def test_finish_without_a_count_takes_what_came_as_all() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.send(b"abc"))
    made.tracker.finish({})
    assert made.tracker.totals().gap_size == 0


def test_a_new_life_of_a_socket_ends_the_last() -> None:
    """As after a lost CLOSE record, and with Unix sockets, which have none."""
    one = Socket(transport=Transport.UNIX_STREAM)
    again = Socket(transport=Transport.UNIX_STREAM, generation=2000, time_ns=5_000_000)
    paths = (b"", b"/run/db")
    made = Made().feed(one.open(paths=paths, family=1), one.send(b"first"))
    made.feed(again.open(paths=paths, family=1), again.send(b"second"))
    assert [seen.egress for seen in made.seen] == [b"first", b"second"]
    assert [seen.connection.is_closed for seen in made.seen] == [True, False]
    assert [seen.connection.number for seen in made.seen] == [1, 2]


def test_datagram_peers_are_connections_of_their_own() -> None:
    one = Socket(transport=Transport.UDP)
    made = Made().feed(one.open(remote=("10.0.0.8", 53)), one.send(b"abc"), one.receive(b"de"))
    one.lose(OUT, 4)  # to the first peer
    made.feed(one.open(remote=("10.0.0.9", 53), before=(2, 7)))
    one.lose(OUT, 1)
    made.feed(one.send(b"fg"))
    made.tracker.finish({(one.address, one.generation): KernelCount((2, 10))})
    first, second = made.seen
    assert (first.remote, first.egress, first.ingress) == (("10.0.0.8", 53), b"abc", b"de")
    assert first.gaps(OUT) == [(3, 4)]
    assert (second.remote, second.egress) == (("10.0.0.9", 53), b"fg")
    assert second.gaps(OUT) == [(7, 1)]
    assert not second.connection.is_joined


class TestRole:
    def test_the_kernel_saw_the_connect(self) -> None:
        made = Made((40000,)).feed(Socket().open(SocketRole.CLIENT))
        assert made.only.connection.role is SocketRole.CLIENT

    def test_its_port_listens(self) -> None:
        made = Made((40000,)).feed(Socket().open(SocketRole.UNKNOWN, before=(9, 9)))
        assert made.only.connection.role is SocketRole.SERVER

    def test_its_port_began_to_listen(self) -> None:
        listener = Socket(address=9)
        made = Made().feed(
            listener.open(SocketRole.SERVER, kind=Kind.LISTEN),
            Socket().open(SocketRole.UNKNOWN, before=(9, 9)),
        )
        assert made.tracker.listening == [40000]
        assert made.only.connection.role is SocketRole.SERVER

    def test_it_was_connected_before(self) -> None:
        made = Made((80,)).feed(Socket().open(SocketRole.UNKNOWN, before=(0, 1)))
        assert made.only.connection.role is SocketRole.CLIENT
        assert not made.only.connection.is_joined

    def test_it_was_accepted(self) -> None:
        made = Made().feed(Socket().open(SocketRole.UNKNOWN))
        assert made.only.connection.role is SocketRole.SERVER

    def test_who_speaks_first_on_another_transport(self) -> None:
        for direction, role in ((IN, SocketRole.SERVER), (OUT, SocketRole.CLIENT)):
            one = Socket(transport=Transport.UDP)
            made = Made().feed(one.open(SocketRole.UNKNOWN), one.data(direction, b"x"))
            assert made.only.connection.role is role


def _open_unix(address: int, pid: int, inode: int = 50) -> bytes:
    one = Socket(address=address, pid=pid, transport=Transport.UNIX_STREAM)
    return one.open(inode=inode, paths=(b"", b"/run/db"), family=1)


class TestJoined:
    def test_tcp_by_what_had_moved(self) -> None:
        assert Made().feed(Socket().open(before=(1, 1))).only.connection.is_joined
        assert not Made().feed(Socket().open(before=(0, 1))).only.connection.is_joined

    def test_unix_by_its_inode(self) -> None:
        one = Socket(transport=Transport.UNIX_STREAM)
        for inode, is_joined in ((55, True), (56, False)):
            made = Made(joined=(55,)).feed(one.open(inode=inode, paths=(b"", b"/run/db"), family=1))
            assert made.only.connection.is_joined is is_joined

    def test_a_unix_socket_that_comes_back_was_joined(self) -> None:
        made = Made()
        for generation, is_joined in ((1, False), (2, True)):
            one = Socket(generation=generation, transport=Transport.UNIX_STREAM)
            made.feed(one.open(inode=55, paths=(b"", b"/run/db"), family=1), one.send(b"x"))
            made.feed(one.close())
            assert made.seen[-1].connection.is_joined is is_joined

    def test_there_is_an_end_to_what_is_remembered(self) -> None:
        made = Made()
        with mock.patch("kebpf.reassembly.tracker.MOST_REMEMBERED", 2):
            for generation, inode in enumerate((55, 56, 57, 55, 57)):
                one = Socket(generation=generation, transport=Transport.UNIX_STREAM)
                made.feed(one.open(inode=inode, family=1), one.send(b"x"), one.close())
        assert [seen.connection.is_joined for seen in made.seen] == [False] * 4 + [True]

    def test_a_process_that_joins_brings_older_sockets_along(self) -> None:
        """Until what it had is told, nobody knows how old they are; its child's are the same."""
        other = Socket(pid=1)
        made = Made().feed(other.process(ProcessChange.JOIN, 5), _open_unix(1, pid=5))
        made.feed(Socket(pid=5).process(ProcessChange.FORK, 6), _open_unix(2, pid=6))
        made.feed(other.held(5, inode=53), other.held(5, is_last=1))
        made.feed(_open_unix(3, pid=5, inode=53), _open_unix(4, pid=5, inode=54))
        made.feed(Socket(pid=6).process(ProcessChange.EXIT), _open_unix(5, pid=6))
        joined = [seen.connection.is_joined for seen in made.seen]
        assert joined == [True, True, True, False, False]

    def test_a_process_that_joins_listens(self) -> None:
        """Before that is told, who speaks first on an older connection is the client."""
        other, kinds = Socket(pid=1), (SocketRole.SERVER, SocketRole.CLIENT)
        made = Made().feed(other.process(ProcessChange.JOIN, 5))
        for number, is_asked in enumerate((True, False)):
            one = Socket(address=number, pid=5)
            made.feed(one.open(SocketRole.UNKNOWN, ("10.0.0.1", 80), before=(9, 9)))
            made.feed(one.receive(b"x") if is_asked else one.send(b"x"))
        assert tuple(seen.connection.role for seen in made.seen) == kinds
        made.feed(other.held(5, port=80), other.held(5, is_last=1))
        made.feed(
            Socket(address=3, pid=5).open(SocketRole.UNKNOWN, ("10.0.0.1", 80), before=(9, 9))
        )
        assert made.seen[-1].connection.role is SocketRole.SERVER
        assert made.tracker.listening == [80]

    def test_datagram_sockets_never(self) -> None:
        one = Socket(transport=Transport.UDP)
        made = Made(joined=(55,)).feed(one.open(inode=55, before=(9, 9)))
        assert not made.only.connection.is_joined


class TestEnds:
    def test_an_end_waits_for_what_was_before_it(self) -> None:
        """The answer's last bytes come late, from another processor; so does their end."""
        one = Socket()
        opened, asked = one.open(), one.send(b"question")
        first, last = one.receive(b"ans"), one.receive(b"wer")
        made = Made().feed(opened, asked, first, one.end(IN))
        assert made.only.ends == []
        made.feed(last)
        assert (made.only.ingress, made.only.ends) == (b"answer", [IN])
        assert made.feed(one.close()).only.gaps(IN) == []

    def test_bytes_missing_before_an_end_are_a_gap_before_it(self) -> None:
        one = Socket()
        made = Made().feed(one.open(), one.receive(b"ans"))
        one.lose(IN, 3)
        made.feed(one.end(IN), one.send(b"next question"))
        assert (made.only.egress, made.only.ends) == (b"", [])
        one.time_ns += PATIENCE_NS + 1
        made.feed(one.send(b"?"))
        made.tracker.release_late()
        assert (made.only.gaps(IN), made.only.ends) == ([(3, 3)], [IN])
        assert made.only.egress == b"next question?"
        made.feed(one.close())
        assert made.only.connection.missing_payload == {}

    def test_a_unix_stream_ends_at_an_offset(self) -> None:
        one = Socket(transport=Transport.UNIX_STREAM)
        made = Made().feed(one.open(family=1), one.receive(b"ans"))
        one.lose(IN, 3)
        made.feed(one.end(IN)).feed(one.close())
        assert (made.only.gaps(IN), made.only.ends) == ([(3, 3)], [IN])

    def test_what_only_the_kernel_counted_has_a_name(self) -> None:
        one = Socket()
        made = Made().feed(one.open(), one.send(b"head"), one.gap(OUT, 5))
        one.lose(OUT, 7)
        one.moved[OUT] += 100
        made.feed(one.close())
        assert made.only.gaps(OUT) == [(4, 112)]
        assert made.only.connection.missing_payload == {
            "beyond the limit of one call": 5,
            UNSEEN: 100,
        }
        assert made.tracker.proof.proven == 1


def test_processes_are_none_of_its_affairs() -> None:
    made = Made().feed(Socket().process(ProcessChange.FORK, 5))
    assert made.tracker.totals().connections == 0


@given(st.data())
def test_any_order_of_data_with_losses(data: st.DataObject) -> None:
    """Two connections, records shuffled between them and lost: exact bytes, exact gaps."""
    sockets = [Socket(address=1), Socket(address=2)]
    made = Made().feed(*(one.open() for one in sockets))
    records, contents = [], []
    for one in sockets:
        content = bytes(data.draw(st.binary(min_size=1, max_size=200)))
        contents.append(content)
        at = 0
        while at < len(content):
            size = data.draw(st.integers(1, 50))
            records.append((one, content[at : at + size], one.send(content[at : at + size])))
            at += size
    kept = [record for record in records if data.draw(st.integers(0, 3))]
    made.feed(*(record for _, _, record in data.draw(st.permutations(kept))))
    made.feed(*(one.close() for one in sockets))
    for one, content, seen in zip(sockets, contents, made.seen, strict=True):
        captured = sum(len(part) for owner, part, _ in kept if owner is one)
        assert len(seen.egress) == captured
        assert sum(size for _, size in seen.gaps(OUT)) == len(content) - captured
        for piece in seen.pieces[OUT]:
            if piece.data is not None:
                assert piece.data == content[piece.offset : piece.offset + piece.size]


def draw_records(data: st.DataObject) -> bytes:
    """Runs as they come, and as they should not: shuffled, doubled, lost, damaged."""
    sockets = [
        Socket(address=1, first_sequence=(0xFFFFFFF0, 7)),
        Socket(address=2, tid=9),
        Socket(address=3, transport=Transport.UNIX_STREAM),
        Socket(address=4, transport=Transport.UDP),
    ]
    records = [one.open(role=data.draw(st.sampled_from(SocketRole))) for one in sockets]
    for _ in range(data.draw(st.integers(0, 25))):
        one = data.draw(st.sampled_from(sockets))
        kind = data.draw(st.integers(0, 11))
        way = data.draw(st.sampled_from(Direction))
        if kind < 8:
            records.append(one.data(way, b"some bytes"[: data.draw(st.integers(0, 10))]))
        elif kind == 8:
            records.append(one.gap(way, 5))
        elif kind == 9:
            records.append(one.end(way))
        elif kind == 10:
            records += [one.close(), one.open()]
        else:
            records.append(make_record(b"given up", 1 << 30))
    for _ in range(data.draw(st.integers(0, 3))):
        at, to = (data.draw(st.integers(0, len(records) - 1)) for _ in "ab")
        records[at], records[to] = records[to], records[at]
    run = bytearray(b"".join(records))
    for at in data.draw(st.lists(st.integers(0, len(run) - 1), max_size=1)):
        run[at] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(run)


def follow(made: Made, feed: Callable[[], object]) -> str:
    """All that can be seen of a tracker that was fed."""
    problem = ""
    try:
        feed()
    except EventError as error:
        problem = str(error)
    made.tracker.release_late()
    seen = [(one.pieces, one.ends, one.connection.role) for one in made.seen]
    newest_ns = made.tracker.now_ns
    made.tracker.finish({})
    return f"{problem} {seen} {made.tracker.totals()} {newest_ns}"


@given(st.data())
def test_runs_are_taken_as_their_events_are(data: st.DataObject) -> None:
    run = draw_records(data)
    one, other = Made(), Made()
    expected = follow(one, lambda: one.feed(run))
    assert follow(other, lambda: other.tracker.feed_run(run)) == expected


def test_a_run_is_taken_up_to_a_time() -> None:
    one = Socket(time_ns=0)
    records = [one.open(), one.send(b"first"), one.send(b"second"), one.send(b"third")]
    made, run = Made(), b"".join(records)
    assert made.tracker.feed_run(run, 0, 2_500) == (len(b"".join(records[:3])), 3)
    assert made.only.egress == b"firstsecond"
    assert made.tracker.feed_run(run, len(run) - len(records[3])) == (len(run), 1)
    assert made.only.egress == b"firstsecondthird"
    assert made.tracker.now_ns == 4_000


def test_what_comes_in_order_makes_no_event() -> None:
    one = Socket()
    made = Made().feed(one.open())
    with mock.patch.object(Tracker, "feed", side_effect=AssertionError):
        made.tracker.feed_run(one.send(b"question") + one.receive(b"answer"))
    assert (made.only.egress, made.only.ingress) == (b"question", b"answer")
