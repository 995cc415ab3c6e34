"""Programs that open many sockets for a moment, in rounds; run as ``short_lives.py NAME …``.

Each waits for a line before it begins, and after each round, when it has closed its sockets.
"""

from __future__ import annotations

import os
import socket
import sys


def _await_line() -> None:
    sys.stdin.readline()


def _end_round() -> None:
    sys.stdout.write("round\n")
    sys.stdout.flush()
    _await_line()


def connections(place: str, rounds: str, count: str) -> None:
    """Unix connections, each with a question of its own."""
    for turn in range(int(rounds)):
        for number in range(int(count)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(place)
                sock.sendall(f"question {turn} {number};".encode() * 100)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(10_000):
                    pass
        _end_round()


def pairs(rounds: str, count: str) -> None:
    """Pairs, bytes from one end to the other."""
    for number in range(int(rounds) * int(count)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(f"pair {number}".encode())
            theirs.recv(100)
        if (number + 1) % int(count) == 0:
            _end_round()


def datagrams(port: str, rounds: str, count: str) -> None:
    """UDP sockets, a datagram and its answer each."""
    for turn in range(int(rounds)):
        for number in range(int(count)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(f"datagram {turn} {number}".encode(), ("127.0.0.1", int(port)))
                sock.recv(100)
        _end_round()


def lend() -> None:
    """A socket is for a while in no process, but in a message that nobody has received yet."""
    ours, theirs = socket.socketpair()
    away, back = socket.socketpair()
    ours.sendall(b"before it is here")
    socket.send_fds(away, [b"take it"], [ours.fileno()])
    ours.close()
    _end_round()
    _, descriptors, _, _ = socket.recv_fds(back, 10, 1)
    with socket.socket(fileno=descriptors[0]) as again:
        again.sendall(b"and here again")
    theirs.close()


def inherit() -> None:
    """The parent speaks, closes, and a child goes on."""
    ours, theirs = socket.socketpair()
    ours.sendall(b"the parent ")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        ours.sendall(b"the child")
        os._exit(0)
    ours.close()
    _end_round()
    os.write(writing, b"x")
    os.waitpid(child, 0)
    theirs.close()


if __name__ == "__main__":
    _await_line()
    {talker.__name__: talker for talker in (connections, pairs, datagrams, lend, inherit)}[
        sys.argv[1]
    ](*sys.argv[2:])
