"""Programs whose sockets begin, end or change hands in unusual ways.

Run as ``talkers.py NAME ARGUMENT…``; it waits for a line on standard input before it begins, and
ends by printing what its calls returned as JSON.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

TCPI_OPT_SYN_DATA = 32  # linux/tcp.h: the peer took what the SYN carried

Report = dict[str, Any]


def make_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that both ends can make for themselves."""
    return random.Random(seed).randbytes(size)


def _await_line() -> None:
    sys.stdin.readline()


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _read_to_end(sock: socket.socket) -> int:
    total = 0
    while data := sock.recv(10_000):
        total += len(data)
    return total


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def talk(host: str, port: str) -> Report:
    """A request, its end, and the answer."""
    _await_line()
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(make_bytes(300_001))
        sock.shutdown(socket.SHUT_WR)
        return {"received": _read_to_end(sock)}


def open_fast(host: str, port: str) -> Report:
    """The first bytes go with the SYN."""
    _await_line()
    request = make_bytes(100_001)
    with socket.socket() as sock:
        sent = sock.sendto(request[:1000], socket.MSG_FASTOPEN, (host, int(port)))
        sock.sendall(request[sent:])
        sock.shutdown(socket.SHUT_WR)
        received = _read_to_end(sock)
        options = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    return {"received": received, "was_fast": bool(options & TCPI_OPT_SYN_DATA), "sent": sent}


def listen_after_end(port: str) -> Report:
    """Reads to the peer's end, and only then speaks."""
    _await_line()
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        received = _read_to_end(sock)
        sock.sendall(make_bytes(300_001))
    return {"received": received}


def be_reset(port: str) -> Report:
    """Writes until the peer breaks the connection."""
    _await_line()
    sent, content = 0, make_bytes(100_000)
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        try:
            while True:
                sent += sock.send(content[sent % 100_000 :])
        except ConnectionError:
            return {"sent": sent}


def reset(port: str) -> Report:
    """Reads some of what came, and breaks the connection."""
    _await_line()
    sock = socket.create_connection(("127.0.0.1", int(port)))
    sock.sendall(b"enough")
    received = len(sock.recv(1000, socket.MSG_WAITALL))
    _reset(sock)
    return {"received": received}


def talk_to_itself() -> Report:
    """Both ends of a pair, both ways."""
    _await_line()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(make_bytes(100_001))
        first = len(theirs.recv(100_001, socket.MSG_WAITALL))
        theirs.sendall(make_bytes(90_001, 2))
        second = len(ours.recv(90_001, socket.MSG_WAITALL))
    return {"received": [first, second]}


def _serve_one(listener: socket.socket) -> None:
    with listener.accept()[0] as sock:
        seed = int(sock.recv(100).decode())
        sock.sendall(make_bytes(20_001, seed))
        sock.sendall(str(os.getpid()).encode())


def fork_before(count: str) -> Report:
    """Three processes accept from one socket, as prefork servers do."""
    _await_line()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children = []
        for _ in range(3):
            children.append(os.fork())
            if children[-1] == 0:
                for _ in range(int(count) // 3):
                    _serve_one(listener)
                os._exit(0)
        _say(listener.getsockname()[1])
        for child in children:
            os.waitpid(child, 0)
    return {"children": children}


def fork_after(count: str) -> Report:
    """One process accepts and reads, a child of its own for each connection answers."""
    _await_line()
    children = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say(listener.getsockname()[1])
        for _ in range(int(count)):
            sock = listener.accept()[0]
            seed = int(sock.recv(100).decode())
            children.append(os.fork())
            if children[-1] == 0:
                sock.sendall(make_bytes(20_001, seed))
                sock.sendall(str(os.getpid()).encode())
                os._exit(0)
            sock.close()
        for child in children:
            os.waitpid(child, 0)
    return {"children": children}


def hand_over(port: str) -> Report:
    """A connection goes to another process in a message, and both of them use it."""
    _await_line()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        _, descriptors, _, _ = socket.recv_fds(theirs, 10, 1)
        with socket.socket(fileno=descriptors[0]) as sock:
            assert sock.recv(3, socket.MSG_WAITALL) == b"two"
            sock.sendall(b"second ")
        os._exit(0)
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        sock.sendall(b"first ")
        assert sock.recv(3, socket.MSG_WAITALL) == b"one"
        socket.send_fds(ours, [b"take it"], [sock.fileno()])
        os.waitpid(child, 0)
        sock.sendall(b"third")
    return {"child": child}


def use_again(port: str, count: str) -> Report:
    """Many connections one after the other, all under one number, and one under another."""
    _await_line()
    numbers = set()
    for seed in range(int(count)):
        with socket.create_connection(("127.0.0.1", int(port))) as sock:
            numbers.add(sock.fileno())
            sock.sendall(make_bytes(1_001, seed))
            sock.shutdown(socket.SHUT_WR)
            assert _read_to_end(sock) == 501
    return {"numbers": len(numbers)}


def duplicate(port: str) -> Report:
    """One connection under numbers from dup, dup2 and dup3, the first of them closed."""
    _await_line()
    sock = socket.create_connection(("127.0.0.1", int(port)))
    second = os.dup(sock.fileno())
    third = os.dup2(sock.fileno(), 200)  # dup2(2)
    fourth = os.dup2(sock.fileno(), 201, inheritable=False)  # dup3(2)
    for number in (sock.fileno(), second, third, fourth):
        os.write(number, f"by {number};".encode())
    sock.close()
    for number in (second, third, fourth):
        os.write(number, f"again {number};".encode())
        os.close(number)
    return {}


def execute(port: str) -> Report:
    """A program started by vfork and exec inherits the connection and speaks on it."""
    _await_line()
    code = "import os, sys; n = int(sys.argv[1]); os.write(n, b'the other '); os.read(n, 100)"
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        sock.sendall(b"one and ")
        number = str(sock.fileno())
        command = [sys.executable, "-I", "-c", code, number]
        with subprocess.Popen(command, pass_fds=[sock.fileno()]) as child:
            assert child.wait() == 0
        sock.sendall(b"and one again")
    return {"child": child.pid}


def leave(port: str, how: str) -> Report:
    """Ends in the middle of a write that waits for room: by itself, or when it is killed."""
    _await_line()
    sock = socket.create_connection(("127.0.0.1", int(port)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    writer = threading.Thread(target=sock.sendall, args=(make_bytes(30_000_000),), daemon=True)
    writer.start()
    _say("writing")
    if how == "exit":
        _await_line()
        os._exit(0)
    writer.join()
    return {}


TALKERS: dict[str, Callable[..., Report]] = {
    talker.__name__: talker
    for talker in (
        talk,
        open_fast,
        listen_after_end,
        be_reset,
        reset,
        talk_to_itself,
        fork_before,
        fork_after,
        hand_over,
        use_again,
        duplicate,
        execute,
        leave,
    )
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TALKERS[sys.argv[1]](*sys.argv[2:])) + "\n")
