"""Plaintext of real programs on a real kernel, and when their libraries are looked at."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest

from kebpf.capture.events import Direction, Event, decode_run
from kebpf.capture.memory import Mapping, read_mappings
from kebpf.capture.points import Library, Place, Point
from kebpf.capture.probes import DEFAULT_CALL_LIMIT, Probes, TlsMode
from kebpf.capture.tlscode import Known, TlsCode
from kebpf.capture.tlsevents import Mark, Plain, SessionEnd
from kebpf.capture.tlsevents import TlsCode as TlsCodeEvent
from kebpf.capture.tlswatch import TlsWatch
from tests.capture.doors import DOORS
from tests.protocols.tls.greeting import make_server_context

# Each line names how many bytes each side sends; over a socket, or through memory BIOs.
PROGRAM = """
import hashlib, socket, ssl, sys
port, way, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("up", flush=True)
sys.stdin.readline()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
plain = socket.create_connection(("127.0.0.1", port))
sent = bytes(range(256)) * (size // 256)
if way == "socket":
    end = context.wrap_socket(plain)
    end.sendall(sent)
    got = b""
    while len(got) < size:
        got += end.recv(65536)
else:
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = context.wrap_bio(into, out)
    def do(call, *arguments):
        while True:
            try:
                result = call(*arguments)
                plain.sendall(out.read())
                return result
            except ssl.SSLWantReadError:
                plain.sendall(out.read())
                into.write(plain.recv(65536))
    do(end.do_handshake)
    at = 0
    while at < size:
        at += do(end.write, sent[at:at + 40000])
    got = b""
    while len(got) < size:
        got += do(end.read, 65536)
print(hashlib.sha256(sent).hexdigest(), hashlib.sha256(got).hexdigest(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module", params=DOORS)
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    made = Probes(request.param, with_tls=True, ring_size=64 << 20)
    try:
        made.attach()
        yield made
    finally:
        made.close()


class Peer:
    """A server that reads so many bytes and sends them back turned round."""

    def __init__(self, folder: Path, size: int) -> None:
        import socket

        self._context = make_server_context(folder, [])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._size = size
        self.got = hashlib.sha256()
        self.sent = hashlib.sha256()
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._context.wrap_socket(connection, server_side=True) as end:
            left = self._size
            answer = bytearray()
            while left:
                data = end.recv(65536)
                self.got.update(data)
                answer += data
                left -= len(data)
            answer.reverse()
            self.sent.update(answer)
            end.sendall(answer)
            with contextlib.suppress(OSError, ssl.SSLError):
                end.recv(1)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def read_events(probes: Probes, notes: list[bytes]) -> list[Event]:
    data = b""
    while run := probes.ring.drain(1 << 24):
        data += run
    return [event for run in (*notes, data) for event in decode_run(run)]


@pytest.mark.kernel
@pytest.mark.parametrize("size", [256, 5120, 1 << 20, 9 << 20])
@pytest.mark.parametrize("way", ["socket", "memory"])
def test_what_both_ends_saw(probes: Probes, tmp_path: Path, way: str, size: int) -> None:
    peer = Peer(tmp_path, size)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(peer.port), way, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin and program.stdout
    notes: list[bytes] = []
    watch = TlsWatch(probes, notes.append)
    collected: list[Event] = []
    try:
        assert program.stdout.readline() == "up\n"
        probes.watch([program.pid])
        watch.look()
        program.stdin.write("\n")
        program.stdin.flush()
        digests = program.stdout.readline().split()
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.wait(30) == 0
        collected = read_events(probes, notes)
    finally:
        watch.close()
        program.kill()
        program.communicate()
        peer.close()
    assert digests == [peer.got.hexdigest(), peer.sent.hexdigest()]
    assert {event.is_read for event in collected if isinstance(event, TlsCodeEvent)} == {True}
    plain = [event for event in collected if isinstance(event, Plain)]
    assert len({event.key for event in plain}) == 1
    for direction, digest in ((Direction.EGRESS, peer.got), (Direction.INGRESS, peer.sent)):
        pieces = [event for event in plain if event.head.direction == direction]
        offset, found = 0, hashlib.sha256()
        for piece in pieces:
            assert piece.offset == offset
            found.update(piece.data or b"")
            offset += piece.size
        # of one call: what is beyond is missing by the session's count
        is_one_call = way == "socket" and direction == Direction.EGRESS
        assert offset == (min(size, DEFAULT_CALL_LIMIT) if is_one_call else size)
        if offset == size:
            assert found.hexdigest() == digest.hexdigest()
    is_named = {bool(event.head.socket) for event in plain}
    assert is_named == {way == "socket"}
    marks = {event.head.direction for event in collected if isinstance(event, Mark)}
    assert marks >= ({0, 1} if way == "memory" else set())
    (end,) = [event for event in collected if isinstance(event, SessionEnd)]
    assert end.moved == (size, size)


class FakeProbes:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.pids = [os.getpid()]
        self.put: list[tuple[str, int, tuple[int, ...], bool]] = []
        self.modes: dict[int, TlsMode] = {}
        self.refuses = ""
        self.ends: list[int] = []  # of probes; what holds them is their other ends
        self.has_memory: bool | None = None

    def watched(self) -> list[int]:
        return self.pids

    def attach_tls(
        self, program: str, pid: int, path: str, offsets: Sequence[int], is_return: bool = False
    ) -> list[int]:
        if program == self.refuses:
            raise OSError("refused")
        self.put.append((program, pid, tuple(offsets), is_return))
        ours, theirs = os.pipe()
        self.ends.append(ours)
        return [theirs]

    def await_end(self) -> None:
        """Until the oldest probe is taken away."""
        assert os.read(self.ends[0], 1) == b""
        os.close(self.ends.pop(0))

    def tell_tls(self, pid: int, mode: TlsMode) -> None:
        self.modes[pid] = mode

    def has_tls(self, pid: int) -> bool:
        return pid in self.modes

    def has_memory_sessions(self, pid: int) -> bool | None:
        return self.has_memory

    def wake(self) -> None:
        pass

    def await_news(self, seconds: float) -> list[int]:
        return []


def make_finder(*functions: str, library: Library = Library.OPENSSL, is_start: bool = False):  # type: ignore[no-untyped-def]
    registers = ("ax", "bx", "cx") if library is Library.GO else ("di", "si", "dx", "cx")

    def find(pid: int, mappings: Sequence[Mapping], known: Known) -> list[TlsCode]:
        points = [
            point
            for at, name in enumerate(functions)
            for point in (
                Point(name, 16 * at, Place.ENTRY, registers, is_start),
                Point(name, 16 * at + 9, Place.RETURN, ("ax",)),
            )
        ]
        return [TlsCode(library, mappings[0], tuple(points), "OpenSSL 9")]

    return find


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class NoNews(FakeProbes):
    """For ten seconds, which pass at once; then it waits to be woken."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.rests: list[float] = []
        self.is_over, self.is_woken = threading.Event(), threading.Event()

    def await_news(self, seconds: float) -> list[int]:
        self.rests.append(seconds)
        self.clock.now += seconds
        if self.clock.now > 10.0:
            self.is_over.set()
            assert self.is_woken.wait(60.0)
        return []

    def wake(self) -> None:
        self.is_woken.set()


def test_it_rests_until_there_is_news_or_an_end_to_it() -> None:
    clock = Clock()
    probes = NoNews(clock)
    watch = TlsWatch(probes, lambda _: None, lambda *_: [], clock)
    watch.start()
    assert probes.is_over.wait(60.0)
    watch.close()
    assert min(probes.rests[-20:]) > 0.18  # what three quarters of the longest pause are


def test_processes_that_are_due_soon_are_looked_at_together() -> None:
    clock, probes = Clock(), FakeProbes()
    watch = TlsWatch(probes, lambda _: None, clock=clock)
    with mock.patch("kebpf.capture.tlswatch.read_mappings", return_value=[]) as look:
        for clock.now, probes.pids in ((1.0, [1]), (1.0005, [1, 2]), (1.0021, [1, 2])):
            watch.look()
    watch.close()
    assert [call.args[0] for call in look.call_args_list] == [1, 2, 1, 2]


def test_a_library_is_given_its_probes_once() -> None:
    probes, notes, clock = FakeProbes(), list[bytes](), Clock()
    watch = TlsWatch(probes, notes.append, make_finder("ssl_read", "ssl_write", "SSL_free"), clock)
    for clock.now in (0.0, 0.01, 1.0, 5.0):
        watch.look()
    watch.close()
    pid = os.getpid()
    assert probes.put == [
        ("on_tls_return", pid, (9,), False),
        ("on_tls_read_counted", pid, (0,), False),
        ("on_tls_return", pid, (25,), False),
        ("on_tls_write_counted", pid, (16,), False),
        ("on_tls_free", pid, (32,), False),
    ]
    (event,) = decode_run(b"".join(notes))
    assert isinstance(event, TlsCodeEvent)
    assert (event.head.pid, event.is_read, event.name) == (pid, True, "OpenSSL 9")


def test_a_uretprobe_stands_at_a_functions_start_only() -> None:
    probes = FakeProbes()
    watch = TlsWatch(probes, lambda _: None, make_finder("SSL_read", is_start=True))
    watch.look()
    watch.close()
    pid = os.getpid()
    assert probes.put == [("on_tls_return", pid, (0,), True), ("on_tls_read", pid, (0,), False)]


def test_go_never_has_a_uretprobe() -> None:
    probes = FakeProbes()
    watch = TlsWatch(
        probes, lambda _: None, make_finder("go_read", library=Library.GO, is_start=True)
    )
    watch.look()
    watch.close()
    assert [is_return for *_, is_return in probes.put] == [False, False]
    assert probes.modes == {os.getpid(): TlsMode.BY_GOROUTINE}


def test_what_cannot_be_watched_is_said() -> None:
    probes, notes = FakeProbes(), list[bytes]()
    probes.refuses = "on_tls_write_counted"
    watch = TlsWatch(probes, notes.append, make_finder("ssl_read", "ssl_write"))
    watch.look()
    watch.close()
    (event,) = decode_run(b"".join(notes))
    assert isinstance(event, TlsCodeEvent) and not event.is_read
    assert [program for program, *_ in probes.put][:2] == ["on_tls_return", "on_tls_read_counted"]


def test_another_program_in_the_process_is_looked_at_anew() -> None:
    probes, clock = FakeProbes(), Clock()
    watch = TlsWatch(probes, lambda _: None, make_finder("ssl_read"), clock)
    watch.look()
    probes.modes.clear()  # as an exec does in the kernel
    clock.now = 1.0
    watch.look()
    watch.close()
    assert len(probes.put) == 4


def test_what_runs_the_same_program_has_its_probes_before_its_library() -> None:
    """The one is found to use a library, the other has not loaded it yet."""
    probes = FakeProbes()
    make = make_finder("ssl_read", "SSL_free")

    def find(pid: int, mappings: Sequence[Mapping], known: Known) -> list[TlsCode]:
        library = [one for one in mappings if Path(one.path).name.startswith("libc")]
        return make(pid, library, known) if pid == first.pid else []

    watch = TlsWatch(probes, lambda _: None, find)
    with subprocess.Popen(["sleep", "60"]) as first, subprocess.Popen(["sleep", "60"]) as second:
        others = [os.getpid(), second.pid]
        while not any("libc" in one.path for one in read_mappings(first.pid)):
            time.sleep(0.01)  # nothing to wait on: it loads its libraries
        for probes.pids in ([first.pid], [first.pid, *others], [first.pid, *others]):
            watch.look()
        watch.close()
        first.kill()
        second.kill()
    of_first = [(program, *rest) for program, pid, *rest in probes.put if pid == first.pid]
    of_second = [(program, *rest) for program, pid, *rest in probes.put if pid == second.pid]
    assert len(of_first) == 3
    assert of_second == of_first
    assert os.getpid() not in {pid for _, pid, *_ in probes.put}


def test_processes_that_end_are_let_go() -> None:
    probes = FakeProbes()
    watch = TlsWatch(probes, lambda _: None, make_finder("ssl_read"))
    watch.look()
    probes.pids = []
    watch.look()
    probes.await_end()
    probes.await_end()
    watch.close()


def test_records_are_marked_only_where_sessions_are_on_memory_bios() -> None:
    """Until that is known they are; and from the first such session on for good."""
    probes, clock = FakeProbes(), Clock()
    watch = TlsWatch(probes, lambda _: None, make_finder("BIO_write"), clock)
    counts = []
    for clock.now, probes.has_memory in ((0.0, None), (1.0, None), (2.0, False), (3.0, True)):
        watch.look()
        counts.append(len(probes.put))
        if probes.has_memory is False:
            probes.await_end()
    watch.close()
    probes.await_end()
    assert counts == [1, 1, 1, 2]
    assert {program for program, *_ in probes.put} == {"on_bio_write"}


def test_arguments_elsewhere_are_not_guessed_at() -> None:
    def find(pid: int, mappings: Sequence[Mapping], known: Known) -> list[TlsCode]:
        points = (Point("SSL_read", 0, Place.ENTRY, ("bx", "si", "dx"), is_start=True),)
        return [TlsCode(Library.OPENSSL, mappings[0], points, "OpenSSL 9")]

    probes, notes = FakeProbes(), list[bytes]()
    watch = TlsWatch(probes, notes.append, find)
    watch.look()
    watch.close()
    (event,) = decode_run(b"".join(notes))
    assert isinstance(event, TlsCodeEvent) and not event.is_read
    assert probes.put == []


CHILD = """
import subprocess, sys
print("up", flush=True)
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", line], check=True)
    print("done", flush=True)
"""
TALK = (
    "import socket, ssl; c = ssl.create_default_context(); c.check_hostname = False;"
    " c.verify_mode = ssl.CERT_NONE;"
    " e = c.wrap_socket(socket.create_connection(('127.0.0.1', {})));"
    " e.sendall(bytes(256)); e.recv(256)\n"
)


@pytest.mark.kernel
def test_a_program_that_is_started_and_soon_over_is_read(probes: Probes, tmp_path: Path) -> None:
    """Such as curl: there is little time between its libraries' loading and its first bytes."""
    notes: list[bytes] = []
    watch = TlsWatch(probes, notes.append)
    program = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin and program.stdout
    try:
        assert program.stdout.readline() == "up\n"
        probes.watch([program.pid])
        watch.start()
        watch.await_start()
        for _ in range(5):
            peer = Peer(tmp_path, 256)
            program.stdin.write(TALK.format(peer.port))
            program.stdin.flush()
            assert program.stdout.readline() == "done\n"
            peer.close()
        collected = read_events(probes, notes)
    finally:
        program.kill()
        program.communicate()
        watch.close()
    moved = [event.size for event in collected if isinstance(event, Plain)]
    assert moved == [256, 256] * 5


STEADY = """
import socket, ssl, sys
print("up", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


@pytest.mark.kernel
def test_what_is_said_before_its_sockets_are_seen_is_not_read(
    probes: Probes, tmp_path: Path
) -> None:
    """Probes are put before the process is watched: half of a conversation would be misread."""
    notes: list[bytes] = []
    watch = TlsWatch(probes, notes.append)
    program = subprocess.Popen(
        [sys.executable, "-c", STEADY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin and program.stdout
    try:
        assert program.stdout.readline() == "up\n"
        watch.prepare([program.pid])
        for talks in range(2):
            if talks:
                probes.watch([program.pid])
            peer = Peer(tmp_path, 256)
            program.stdin.write(TALK.format(peer.port).replace("\n", "; e.close()\n"))
            program.stdin.flush()
            assert program.stdout.readline() == "done\n"
            peer.close()
            collected = read_events(probes, notes)
            moved = [event.size for event in collected if isinstance(event, Plain)]
            assert moved == [256, 256] * talks
    finally:
        program.kill()
        program.communicate()
        watch.close()
