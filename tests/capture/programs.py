"""Programs to watch: each moves known bytes over a socket by one kind of system call.

Run as ``programs.py NAME ARGUMENT…``; it waits for a line on standard input before it begins, and
ends by printing what its calls returned as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REQUEST_SIZE = 300_001
REPLY_SIZE = 200_003

_libc = ctypes.CDLL(None, use_errno=True)

Report = dict[str, Any]


def make_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that both ends can make for themselves."""
    return random.Random(seed).randbytes(size)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("size", ctypes.c_uint32))


class Messages:
    """A vector for sendmmsg and recvmmsg; each message has two buffers."""

    def __init__(self, contents: list[bytes]) -> None:
        self._buffers = [ctypes.create_string_buffer(part, len(part)) for part in contents]
        self.vector = (_Mmsghdr * len(contents))()
        self._iovecs = []
        for header, buffer in zip(self.vector, self._buffers, strict=True):
            half, address = len(buffer) // 2, ctypes.addressof(buffer)
            pair = (_Iovec * 2)(_Iovec(address, half), _Iovec(address + half, len(buffer) - half))
            self._iovecs.append(pair)
            header.header.iov, header.header.iov_count = pair, 2

    def send(self, sock: socket.socket, count: int | None = None) -> list[int]:
        """The sizes that the call wrote down."""
        count = len(self.vector) if count is None else count
        return self._sizes(_libc.sendmmsg(sock.fileno(), self.vector, count, 0))

    def receive(self, sock: socket.socket, flags: int = 0x10000) -> list[bytes]:
        """What came in one call; MSG_WAITFORONE."""
        done = _libc.recvmmsg(sock.fileno(), self.vector, len(self.vector), flags, None)
        sizes = self._sizes(done)
        return [buffer.raw[:size] for buffer, size in zip(self._buffers, sizes, strict=False)]

    def _sizes(self, done: int) -> list[int]:
        if done < 0:
            raise OSError(ctypes.get_errno(), "mmsg")
        return [message.size for message in self.vector[:done]]


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Pieces of these sizes, again and again."""
    at = number = 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        yield data[at : at + size]
        at, number = at + size, number + 1


def _send_by_write(sock: socket.socket, data: bytes) -> None:
    for part in cut(data, [1, 70_000, 16_384, 16_385, 3]):
        assert os.write(sock.fileno(), part) == len(part)


def _send_by_send(sock: socket.socket, data: bytes) -> None:
    for part in cut(data, [100_000, 7]):
        assert sock.send(part) == len(part)


def _send_by_writev(sock: socket.socket, data: bytes) -> None:
    """All in one call of 1,024 buffers, some of them empty."""
    parts = list(cut(data, [0, 700, 1, 293]))[:1023]
    at = sum(map(len, parts))
    assert os.writev(sock.fileno(), [*parts, data[at:]]) == len(data)


def _send_by_sendmsg(sock: socket.socket, data: bytes) -> None:
    assert sock.sendmsg([data[:10], b"", data[10:90_000], data[90_000:]]) == len(data)


def _send_by_sendmmsg(sock: socket.socket, data: bytes) -> None:
    for part in (data[:200_000], data[200_000:]):
        pieces = list(cut(part, [5_000, 5_000, 40_000]))
        assert Messages(pieces).send(sock) == [len(piece) for piece in pieces]


def _receive_by_read(sock: socket.socket) -> Iterator[bytes]:
    while data := os.read(sock.fileno(), 70_000):
        yield data


def _receive_by_recv(sock: socket.socket) -> Iterator[bytes]:
    while data := sock.recv(5_000):
        yield data


def _receive_by_readv(sock: socket.socket) -> Iterator[bytes]:
    buffers = [bytearray(size) for size in (1, 0, 9_000, 20_000)]
    while size := os.readv(sock.fileno(), buffers):
        yield b"".join(buffers)[:size]


def _receive_by_recvmsg(sock: socket.socket) -> Iterator[bytes]:
    buffers = [bytearray(40_000), bytearray(3)]
    while size := sock.recvmsg_into(buffers)[0]:
        yield b"".join(buffers)[:size]


_SENDERS = {
    "write": _send_by_write,
    "send": _send_by_send,
    "writev": _send_by_writev,
    "sendmsg": _send_by_sendmsg,
    "sendmmsg": _send_by_sendmmsg,
}
_RECEIVERS = {
    "read": _receive_by_read,
    "recv": _receive_by_recv,
    "readv": _receive_by_readv,
    "recvmsg": _receive_by_recvmsg,
}


def _connect(port: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)))


def _await_start() -> None:
    sys.stdin.readline()


def talk(port: str, sender: str, receiver: str) -> Report:
    """Sends, half-closes, receives to the end."""
    _await_start()
    with _connect(port) as sock:
        _SENDERS[sender](sock, make_bytes(REQUEST_SIZE))
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(_RECEIVERS[receiver](sock))
    return {"received": received == make_bytes(REPLY_SIZE, 2)}


def send_huge(port: str, size: str) -> Report:
    """One call, and a small one behind it."""
    _await_start()
    with _connect(port) as sock:
        sent = os.write(sock.fileno(), make_bytes(int(size)))
        sock.sendall(b"behind it")
    return {"sent": sent}


def send_file(port: str, path: str) -> Report:
    """A head, a file, a tail."""
    _await_start()
    with _connect(port) as sock, Path(path).open("rb") as file:
        sock.sendall(b"head")
        sent = os.sendfile(sock.fileno(), file.fileno(), 0, 100_000)
        sock.sendall(b"tail")
    return {"sent": sent}


def splice_away(port: str) -> Report:
    """Reads four bytes, and the rest into a pipe without seeing it."""
    _await_start()
    reading, writing = os.pipe()
    with _connect(port) as sock:
        head = sock.recv(4, socket.MSG_WAITALL)
        spliced = 0
        while spliced < 6_000:
            spliced += os.splice(sock.fileno(), writing, 6_000 - spliced)
    return {"head": head.decode(), "spliced": spliced, "pipe": len(os.read(reading, 65_536))}


def splice_in(port: str) -> Report:
    """From a pipe into the socket."""
    _await_start()
    reading, writing = os.pipe()
    os.write(writing, bytes(6_000))
    with _connect(port) as sock:
        return {"spliced": os.splice(reading, sock.fileno(), 6_000)}


def look_first(port: str) -> Report:
    """Peeks, reads nothing, reads a little, throws some away, reads the rest."""
    _await_start()
    with _connect(port) as sock:
        peeked = sock.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL)
        nothing = sock.recv(0)
        little = sock.recv(6, socket.MSG_WAITALL)
        thrown = sock.recv(6, socket.MSG_TRUNC | socket.MSG_WAITALL)
        rest = b"".join(iter(lambda: sock.recv(100), b""))
    return {"texts": [part.decode() for part in (peeked, nothing, little, rest)], "n": len(thrown)}


def overflow(port: str) -> Report:
    """Writes without blocking until there is no room, then on, blocking."""
    _await_start()
    data, results = memoryview(make_bytes(9_000_000)), []
    with _connect(port) as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                results.append(sock.send(data[:1_000_000]))
                data = data[results[-1] :]
        sys.stdout.write("full\n")
        sys.stdout.flush()
        sock.setblocking(True)
        for start in range(0, len(data), 1_000_000):
            sock.sendall(data[start : start + 1_000_000])
    return {"results": results}


def talk_in_threads(port: str) -> Report:
    """Four threads, a connection each; a thread's text is its own number."""
    _await_start()
    report: Report = {}

    def speak(seed: int) -> None:
        with _connect(port) as sock:
            for part in cut(make_bytes(50_000, seed), [999]):
                sock.sendall(part)
            report[str(seed)] = threading.get_native_id()

    threads = [threading.Thread(target=speak, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return report


def talk_by_child(port: str) -> Report:
    """A child, made after the start, speaks; its own child executes a program that does."""
    _await_start()
    child = os.fork()
    if child == 0:
        with _connect(port) as sock:
            sock.sendall(b"from the child")
            grandchild = os.fork()
            if grandchild == 0:
                code = "import os, sys; os.write(int(sys.argv[1]), b' and its child')"
                sock.set_inheritable(True)
                os.execv(sys.executable, [sys.executable, "-I", "-c", code, str(sock.fileno())])
            os.waitpid(grandchild, 0)
        os._exit(0)
    os.waitpid(child, 0)
    return {"child": child}


def talk_by_duplicate(port: str) -> Report:
    """One connection under three numbers."""
    _await_start()
    with _connect(port) as sock:
        sock.sendall(b"one ")
        second = os.dup(sock.fileno())
        os.write(second, b"two ")
        os.dup2(sock.fileno(), 200)
        os.write(200, b"three")
        os.close(second)
        os.close(200)
    return {}


def talk_on(port: str) -> Report:
    """Speaks before and after the start."""
    with _connect(port) as sock:
        sock.sendall(b"before ")
        assert sock.recv(6, socket.MSG_WAITALL) == b"yes so"
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _await_start()
        sock.sendall(b"after")
        received = b"".join(iter(lambda: sock.recv(100), b""))
    return {"received": received.decode()}


def serve_once(path: str) -> Report:
    """A server of one connection, TCP or (with a path) Unix; echoes what came, to the end."""
    family = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(family) as listener:
        _await_start()
        listener.bind(path.replace("@", "\0") if path else ("127.0.0.1", 0))
        listener.listen()
        sys.stdout.write(f"{json.dumps(listener.getsockname(), default=str)}\n")
        sys.stdout.flush()
        sock = listener.accept()[0]
        with sock:
            sys.stdin.readline()  # by then data and end are both there
            received = sock.recv(100_000)
            sock.sendall(received)
    return {"received": len(received)}


def talk_to_path(path: str) -> Report:
    """A Unix stream connection."""
    _await_start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path.replace("@", "\0"))
        sock.sendall(make_bytes(REQUEST_SIZE))
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(_receive_by_recv(sock))
    return {"received": received == make_bytes(REPLY_SIZE, 2)}


def talk_to_self() -> Report:
    """A pair of sockets without names."""
    _await_start()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"to myself")
        return {"received": theirs.recv(100).decode()}


def ask_datagrams(first: str, second: str) -> Report:
    """A connected socket, then an unconnected one that asks two servers in turn."""
    _await_start()
    answers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", int(first)))
        sock.send(b"connected")
        answers.append(sock.recv(100).decode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for host, port in (("127.0.0.1", first), ("127.0.0.2", second), ("127.0.0.1", first)):
            sock.sendto(f"to {host}".encode(), (host, int(port)))
            answers.append(sock.recvfrom(100)[0].decode())
    return {"answers": answers}


def truncate_datagram(port: str) -> Report:
    """Asks for the true size of a datagram that there is no room for."""
    _await_start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", int(port)))
        sock.send(b"question")
        buffer = bytearray(4)
        size = sock.recv_into(buffer, 4, socket.MSG_TRUNC)
    return {"size": size, "text": buffer.decode()}


def send_messages(port: str) -> Report:
    """Vectors of datagrams: whole, a part of the same vector again, one without bytes."""
    _await_start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", int(port)))
        messages = Messages([b"first", b"other", b"third"])
        sizes = [messages.send(sock), messages.send(sock, 2), messages.send(sock)]
        sizes.append(Messages([b"a", b"", b"bc"]).send(sock))
        received: list[bytes] = []
        while len(received) < 11:
            received += Messages([bytes(50)] * 11).receive(sock)
    return {"sizes": sizes, "received": [part.decode() for part in received]}


def send_messages_in_parts(path: str) -> Report:
    """A vector whose call ends early, by an error, and another in the very same memory."""
    _await_start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(path)
        sock.setblocking(False)
        messages = Messages([b"%05d" % number for number in range(1000)])
        sizes = messages.send(sock)  # until there is no room for more
        sys.stdout.write(f"{len(sizes)}\n")
        sys.stdout.flush()
        sys.stdin.readline()  # there is room again
        again = messages.send(sock)
    return {"sent": [len(sizes), len(again)]}


def send_to_paths(first: str) -> Report:
    """Unix datagrams to a path."""
    _await_start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"a log line", first)
    return {}


def fail(port: str) -> Report:
    """Calls that move nothing: refused, not connected, nothing there."""
    _await_start()
    with contextlib.suppress(ConnectionRefusedError), _connect(port):
        pass
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.send(b"not connected")
    return {}


def burst(port: str, size: str) -> Report:
    """Much at once, more than a small ring holds, to its last bytes; silence; a last word."""
    _await_start()
    with _connect(port) as sock:
        for part in cut(make_bytes(int(size)), [1_000, 30_000, *[5] * 12]):
            sock.sendall(part)
        sys.stdout.write("sent\n")
        sys.stdout.flush()
        _await_start()
        sock.sendall(b"the last word")
    return {}


def receive_in_two_threads() -> Report:
    """One is in the middle of a vector all the while another receives one; then it ends."""
    _await_start()
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    slow, quick, sender = socks
    received: list[list[str]] = []

    def receive(sock: socket.socket) -> None:
        received.append([part.decode() for part in Messages([bytes(9)] * 2).receive(sock, 0)])

    waiting = threading.Thread(target=receive, args=(slow,))
    waiting.start()
    sender.sendto(b"slow one", slow.getsockname())
    while select.select([slow], [], [], 0)[0]:
        pass
    for text in (b"quick one", b"quick two"):
        sender.sendto(text, quick.getsockname())
    receive(quick)
    sender.sendto(b"slow two", slow.getsockname())
    waiting.join()
    return {"received": received}


PROGRAMS: dict[str, Callable[..., Report]] = {
    program.__name__: program
    for program in (
        talk,
        send_huge,
        send_file,
        splice_away,
        splice_in,
        look_first,
        overflow,
        talk_in_threads,
        talk_by_child,
        talk_by_duplicate,
        talk_on,
        serve_once,
        talk_to_path,
        talk_to_self,
        ask_datagrams,
        truncate_datagram,
        send_messages,
        receive_in_two_threads,
        send_messages_in_parts,
        send_to_paths,
        fail,
        burst,
    )
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])) + "\n")
