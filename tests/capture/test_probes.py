"""The probes under real programs: what they say is what the other end of the socket saw."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.events import Direction, End, GapReason, Open, Operation, SocketRole
from kebpf.capture.probes import DEFAULT_CALL_LIMIT, Door, Probes
from kebpf.reassembly.tracker import UNSEEN
from tests.capture.doors import DOORS, needs_door_a
from tests.capture.peers import datagram_peer, read_all, reply_with, stream_peer
from tests.capture.programs import REPLY_SIZE, REQUEST_SIZE, make_bytes
from tests.capture.tap import Capture, tap, watch
from tests.capture.uring import MUCH

pytestmark = pytest.mark.kernel

IN, OUT = Direction.INGRESS, Direction.EGRESS
RING_SIZE = 32 << 20
REPLY = make_bytes(REPLY_SIZE, 2)
_WALKED = re.compile(r"^verified_insns:\s*(\d+)", re.MULTILINE)


@pytest.fixture(scope="module", params=DOORS)
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """Attached, with nobody to watch yet."""
    made = Probes(request.param, ring_size=RING_SIZE)
    made.attach()
    yield made
    made.close()


def assert_whole(capture: Capture) -> None:
    """Nothing missing, nothing twice."""
    assert capture.totals.gap_size == capture.totals.unopened_size == 0
    assert capture.totals.overlap_size == 0


SENDERS = ("write", "send", "writev", "sendmsg", "sendmmsg")


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        *((name, "recv") for name in SENDERS),
        *(("send", name) for name in ("read", "readv", "recvmsg")),
    ],
)
def test_both_streams_are_what_the_peer_saw(probes: Probes, sender: str, receiver: str) -> None:
    with stream_peer(reply_with(REPLY)) as peer:
        capture = watch(probes, "talk", peer.port, sender, receiver)
    seen = capture.only
    assert capture.report == {"received": True}
    assert peer.only == make_bytes(REQUEST_SIZE)
    assert seen.egress == peer.only
    assert seen.ingress == REPLY
    assert_whole(capture)
    assert [close.moved for close in capture.closes] == [(REPLY_SIZE, REQUEST_SIZE)]
    assert capture.closes[0].lost == (0, 0)
    assert seen.connection.role is SocketRole.CLIENT
    assert not seen.connection.is_joined
    assert seen.remote == ("127.0.0.1", peer.port)
    assert sorted(seen.ends) == [IN, OUT]


def test_what_is_beyond_the_limit_of_a_call_is_a_gap(probes: Probes) -> None:
    size = 20 << 20
    with stream_peer() as peer:
        capture = watch(probes, "send_huge", peer.port, size)
    seen, content = capture.only, make_bytes(size)
    assert capture.report == {"sent": size}
    assert peer.only == content + b"behind it"
    assert seen.egress == content[:DEFAULT_CALL_LIMIT] + b"behind it"
    assert seen.gaps(OUT) == [(DEFAULT_CALL_LIMIT, size - DEFAULT_CALL_LIMIT)]
    assert [event.reason for event in capture.lost] == [GapReason.LIMIT]


def test_sendfile_is_a_gap_in_its_place(probes: Probes, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(make_bytes(100_000))
    with stream_peer() as peer:
        capture = watch(probes, "send_file", peer.port, file)
    assert peer.only == b"head" + file.read_bytes() + b"tail"
    assert capture.only.egress == b"headtail"
    assert capture.only.gaps(OUT) == [(4, 100_000)]
    assert {(event.reason, event.operation) for event in capture.lost} == {
        (GapReason.NO_BUFFER, Operation.SENDFILE)
    }
    assert capture.only.connection.missing_payload == {"by sendfile": 100_000}


def test_splice_from_a_socket_is_a_gap(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.sendall(b"head" + bytes(6_000))
        read_all(sock, into)

    with stream_peer(serve) as peer:
        capture = watch(probes, "splice_away", peer.port)
    assert capture.report == {"head": "head", "spliced": 6_000, "pipe": 6_000}
    assert capture.only.ingress == b"head"
    assert capture.only.gaps(IN) == [(4, 6_000)]


def test_splice_to_a_socket_is_a_gap(probes: Probes) -> None:
    with stream_peer() as peer:
        capture = watch(probes, "splice_in", peer.port)
    assert peer.only == bytes(6_000)
    assert capture.only.gaps(OUT) == [(0, 6_000)]
    assert {event.operation for event in capture.lost} == {Operation.SPLICE}


@pytest.mark.parametrize(("other_call", "size"), [("read", 0), ("write", MUCH)])
def test_the_buffers_of_another_call_are_not_looked_into(
    probes: Probes, other_call: str, size: int
) -> None:
    """io_uring receives while the thread is in a call of its own: a gap."""
    is_complete = threading.Event()

    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.recv(min(size, 1), socket.MSG_PEEK)
        sock.sendall(b"by io_uring")
        sock.shutdown(socket.SHUT_WR)
        assert is_complete.wait(20)
        read_all(sock, into)

    with stream_peer(serve) as peer, tap(probes, "uring", peer.port, other_call) as held:
        held.start()
        assert held.read_line() == "complete"
        is_complete.set()
        capture = held.finish(closed=1)
    assert capture.report == {"result": 11}
    assert capture.only.egress == peer.only == bytes(size) + b"by io_uring"
    assert capture.only.ingress == b""
    assert capture.only.gaps(IN) == [(0, 11)]
    # door B sees no more of it than the sequence numbers tell
    cause = "by io_uring" if probes.door is Door.A else UNSEEN
    assert capture.only.connection.missing_payload == {cause: 11}


def test_only_what_is_taken_out_of_the_stream_counts(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.sendall(b"peeked" + b"thrown" + b"and the rest")
        sock.shutdown(socket.SHUT_WR)
        read_all(sock, into)

    with stream_peer(serve) as peer:
        capture = watch(probes, "look_first", peer.port)
    assert capture.report == {"texts": ["peeked", "", "peeked", "and the rest"], "n": 6}
    seen = capture.only
    assert seen.ingress == b"peeked" + b"and the rest"
    assert seen.gaps(IN) == [(6, 6)]
    assert {event.operation for event in capture.lost} == {Operation.TRUNCATED}
    assert seen.ends.count(IN) == 1  # reading nothing into no room is no end
    ends = [index for index, event in enumerate(capture.events) if isinstance(event, End)]
    assert ends[0] > capture.events.index(capture.lost[0])


def test_partial_and_refused_writes_count_once(probes: Probes) -> None:
    content = make_bytes(9_000_000)
    is_full = threading.Event()

    def serve(sock: socket.socket, into: bytearray) -> None:
        assert is_full.wait(20)
        read_all(sock, into)

    with stream_peer(serve) as peer, tap(probes, "overflow", peer.port) as held:
        held.start()
        assert held.read_line() == "full"
        is_full.set()
        capture = held.finish()
    assert 0 < capture.report["results"][-1] < 1_000_000
    assert capture.only.egress == peer.only == content
    assert_whole(capture)


def test_threads_are_told_apart(probes: Probes) -> None:
    with stream_peer(count=4) as peer:
        capture = watch(probes, "talk_in_threads", peer.port)
    assert len(capture.connections) == 4
    by_thread = {seen.pieces[OUT][0].tid: seen for seen in capture.connections}
    for seed, thread in capture.report.items():
        seen = by_thread[thread]
        assert seen.egress == make_bytes(50_000, int(seed))
        assert {piece.tid for piece in seen.pieces[OUT]} == {thread}
        assert seen.connection.pid == capture.pid
    assert sorted(map(bytes, peer.received)) == sorted(seen.egress for seen in by_thread.values())


def test_descendants_are_followed(probes: Probes) -> None:
    with stream_peer() as peer:
        capture = watch(probes, "talk_by_child", peer.port)
    assert peer.only == capture.only.egress == b"from the child and its child"
    processes = [piece.tid for piece in capture.only.pieces[OUT]]
    assert processes[0] == capture.report["child"]
    assert len({*processes, capture.pid}) == 3
    assert probes.watched() == []


def test_a_connection_is_one_under_any_number(probes: Probes) -> None:
    with stream_peer() as peer:
        capture = watch(probes, "talk_by_duplicate", peer.port)
    assert capture.only.egress == peer.only == b"one two three"
    assert capture.only.ends == [OUT]


def test_a_connection_from_before_is_joined(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.sendall(b"yes so")
        into += sock.recv(len(b"before after"), socket.MSG_WAITALL)
        sock.sendall(b"answer")

    with stream_peer(serve) as peer, tap(probes, "talk_on", peer.port) as held:
        assert held.read_line() == "ready"
        held.start()
        capture = held.finish()
    seen, opened = capture.only, capture.only.connection.opened
    assert seen.connection.is_joined
    assert seen.connection.role is SocketRole.CLIENT
    assert (opened.ingress_before, opened.egress_before) == (6, 7 + 1)  # and the SYN
    assert (seen.egress, seen.ingress) == (b"after", b"answer")
    assert_whole(capture)


@pytest.mark.parametrize("path", ["", "socket", "@"])
def test_a_server_reads_a_request_with_its_end(probes: Probes, tmp_path: Path, path: str) -> None:
    """The FIN is in the queue behind the bytes when they are read; it is none of them."""
    place = f"@{tmp_path.name}-{probes.door.value}" if path == "@" else str(tmp_path / path)
    with tap(probes, "serve_once", place if path else "") as held:
        held.start()
        address = held.read_line()
        client = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        with client:
            client.connect(place.replace("@", "\0") if path else ("127.0.0.1", _port_of(address)))
            client.sendall(b"the whole request")
            client.shutdown(socket.SHUT_WR)
            held.go_on()
            capture = held.finish()
            assert client.recv(100) == b"the whole request"
    seen = capture.only
    assert seen.ingress == seen.egress == b"the whole request"
    assert seen.connection.role is SocketRole.SERVER
    assert not seen.connection.is_joined
    assert_whole(capture)
    if path:
        assert seen.connection.opened.local == place
    else:
        assert [event.local_port for event in capture.listens] == [_port_of(address)]
        assert capture.listening == [_port_of(address)]
        assert capture.closes[0].moved == (17, 17)


def _port_of(address: str) -> int:
    port: int = json.loads(address)[1]
    return port


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_unix_streams(probes: Probes, tmp_path: Path, kind: str) -> None:
    place = f"@{tmp_path.name}-{probes.door.value}" if kind == "abstract" else str(tmp_path / "s")
    with stream_peer(reply_with(REPLY), path=place) as peer:
        capture = watch(probes, "talk_to_path", place)
    assert capture.report == {"received": True}
    seen = capture.only
    assert (seen.egress, seen.ingress) == (peer.only, REPLY)
    assert seen.connection.opened.remote == place
    assert seen.connection.role is SocketRole.CLIENT
    assert seen.ends == [IN]
    assert_whole(capture)


def test_socket_pair_has_no_names(probes: Probes) -> None:
    capture = watch(probes, "talk_to_self")
    assert len(capture.connections) == 2
    for seen in capture.connections:
        opened = seen.connection.opened
        assert (opened.local, opened.remote, seen.connection.transport) == ("", "", "unix")
    assert sorted(seen.egress + seen.ingress for seen in capture.connections) == [b"to myself"] * 2


def test_datagrams_belong_to_their_peer(probes: Probes) -> None:
    with (
        datagram_peer("127.0.0.1", 3, b"from one") as first,
        datagram_peer("127.0.0.2", 1, b"from two") as second,
    ):
        capture = watch(probes, "ask_datagrams", first.port, second.port)
    assert capture.report["answers"] == ["from one", "from one", "from two", "from one"]
    assert [(seen.remote, seen.egress, seen.ingress) for seen in capture.connections] == [
        (("127.0.0.1", first.port), b"connected", b"from one"),
        (("127.0.0.1", first.port), b"to 127.0.0.1", b"from one"),
        (("127.0.0.2", second.port), b"to 127.0.0.2", b"from two"),
        (("127.0.0.1", first.port), b"to 127.0.0.1", b"from one"),
    ]
    assert_whole(capture)


def test_nothing_is_read_beyond_a_buffer(probes: Probes) -> None:
    with datagram_peer("127.0.0.1", 1, b"four and more") as peer:
        capture = watch(probes, "truncate_datagram", peer.port)
    assert capture.report == {"size": 13, "text": "four"}
    assert capture.only.ingress == b"four"
    assert capture.only.gaps(IN) == [(4, 9)]


def test_vectors_of_datagrams(probes: Probes) -> None:
    with datagram_peer("127.0.0.1", 11) as peer:
        capture = watch(probes, "send_messages", peer.port)
    assert capture.report["sizes"] == [[5, 5, 5], [5, 5], [5, 5, 5], [1, 0, 2]]
    sent = [b"first", b"other", b"third", b"first", b"other", b"first", b"other", b"third"]
    sent += [b"a", b"", b"bc"]
    assert list(map(bytes, peer.received)) == sent
    seen = capture.only
    assert seen.egress == b"".join(sent)
    assert [piece.size for piece in seen.pieces[OUT]] == [5] * 8 + [1, 2]
    assert seen.ingress == b"answer" * 11
    assert_whole(capture)


def test_a_vector_that_was_sent_in_part(probes: Probes, tmp_path: Path) -> None:
    """The next call on the same memory begins at its first message again."""
    place = str(tmp_path / "peer")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(place)
        with tap(probes, "send_messages_in_parts", place) as held:
            held.start()
            count = int(held.read_line())
            assert 0 < count < 1000
            received = [peer.recv(100) for _ in range(count)]
            held.go_on()
            capture = held.finish()
        again = capture.report["sent"][1]
        received += [peer.recv(100) for _ in range(again)]
    assert received == [b"%05d" % number for part in (count, again) for number in range(part)]
    assert capture.only.egress == b"".join(received)
    assert_whole(capture)


@needs_door_a
@pytest.mark.parametrize("places", [1, 2])
def test_a_vector_whose_place_is_lost_is_a_gap(places: int) -> None:
    """Its second message is not taken for its first: that would be other bytes."""
    made = Probes(Door.A, places=places)
    try:
        made.attach()
        capture = watch(made, "receive_in_two_threads")
    finally:
        made.close()
    assert capture.report["received"] == [["quick one", "quick two"], ["slow one", "slow two"]]
    quick, slow = sorted(
        (seen for seen in capture.connections if seen.ingress or seen.gaps(IN)),
        key=lambda seen: seen.ingress[:1],
    )
    assert slow.ingress == b"slow oneslow two"
    assert quick.ingress == b"quick onequick two"[: 9 * places]
    missing = {"by sendmmsg or recvmmsg in too many threads at once": 9} if places == 1 else {}
    assert quick.connection.missing_payload == missing


def test_unix_datagrams(probes: Probes, tmp_path: Path) -> None:
    place = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(place)
        capture = watch(probes, "send_to_paths", place)
        assert log.recv(100) == b"a log line"
    opened = capture.only.connection.opened
    assert capture.only.egress == b"a log line"
    assert (opened.remote, opened.remote_port) == (place, 0)
    assert capture.only.connection.transport == "unix-datagram"


def test_calls_that_move_nothing_are_nothing(probes: Probes) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        capture = watch(probes, "fail", closed.getsockname()[1])
    assert capture.connections == []
    assert capture.totals.unopened_size == 0
    assert not [event for event in capture.events if isinstance(event, Open)]


@pytest.fixture(params=DOORS)
def small_probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """With a ring of 64 KiB."""
    made = Probes(request.param, ring_size=64 << 10)
    made.attach()
    yield made
    made.close()


def test_no_room_in_the_ring_is_a_gap_where_the_bytes_were(small_probes: Probes) -> None:
    """Nothing is read from the ring while 2 MB go by."""
    size = 2_000_000
    content = make_bytes(size) + b"the last word"
    with stream_peer() as peer, tap(small_probes, "burst", peer.port, size) as held:
        held.start()
        assert held.read_line() == "sent"
        held.drain()
        held.go_on()
        capture = held.finish()
    seen, counts = capture.only, small_probes.counts()
    assert peer.only == content
    assert seen.egress.endswith(b"the last word")
    missing = sum(size for _, size in seen.gaps(OUT))
    assert missing == len(content) - len(seen.egress) > 0
    for piece in seen.pieces[OUT]:
        if piece.data is not None:
            assert piece.data == content[piece.offset : piece.offset + piece.size]
    assert capture.closes[0].moved == (0, len(content))
    assert capture.closes[0].lost == (0, counts["lost_bytes"]) == (0, missing)
    assert counts["lost_events"] > 0


def test_what_went_by_before_its_opening_could_be_told_is_a_gap(small_probes: Probes) -> None:
    """The ring is full before the connection begins; once there is room it is announced."""
    with (
        stream_peer() as first,
        stream_peer() as second,
        tap(small_probes, "burst", first.port, 300_000) as filling,
        tap(small_probes, "burst", second.port, 70_000) as held,  # a tap empties the ring
    ):
        filling.start()
        assert filling.read_line() == "sent"
        held.start()
        assert held.read_line() == "sent"
        held.drain()
        held.go_on()
        capture = held.finish()
        filling.go_on()
        filling.finish()
    (seen,) = [one for one in capture.connections if one.connection.pid == held.pid]
    assert second.only.endswith(b"the last word")
    assert seen.egress == b"the last word"
    assert seen.gaps(OUT) == [(0, 70_000)]
    assert seen.connection.role is SocketRole.CLIENT
    assert not seen.connection.is_joined


def find_programs(pid: int) -> set[int]:
    """The ids of the programs and maps that a process holds, by its descriptors."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        for line in entry.read_text().splitlines():
            if line.startswith("prog_id:"):
                found.add(int(line.split()[1]))
    return found


def list_programs() -> set[int]:
    """All programs in the kernel, by bpftool."""
    text = subprocess.run(["bpftool", "-j", "prog", "list"], capture_output=True, check=True).stdout
    return {program["id"] for program in json.loads(text)}


@pytest.mark.parametrize("door", DOORS)
def test_older_verifiers_take_them_too(door: Door) -> None:
    """They walk through up to three times as much as newer ones, and through a million at most."""
    made = Probes(door, with_groups=True, with_tasks=True, with_tls=True)
    entries = [path.read_text() for path in Path("/proc/self/fdinfo").iterdir() if path.exists()]
    made.close()
    walked = [int(number) for text in entries for number in _WALKED.findall(text)]
    if not walked:
        pytest.skip("this kernel does not tell (Linux 5.16)")
    assert len(walked) >= 30
    assert max(walked) < 300_000


def test_the_probes_end_with_their_process() -> None:
    code = (
        "from kebpf.capture.probes import Probes; import sys; p = Probes(); p.attach();"
        "print('ready', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        programs = find_programs(holder.pid)
        assert len(programs) >= 6
        assert programs <= list_programs()
    finally:
        holder.kill()
        holder.communicate()
    for _ in range(200):  # the kernel frees them after a grace period
        if not programs & list_programs():
            break
        time.sleep(0.02)
    assert not programs & list_programs()
