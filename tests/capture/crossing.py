"""A program with connections of every kind; each carries its own name.

Run as ``crossing.py PORT_A PORT_B DATAGRAM_A DATAGRAM_B UNIX_PATH``: it connects to the two ports,
listens, prints where, and takes one connection.  After a line on standard input it says each
connection's name on it, on new ones too, and prints how many bytes it sent.
"""

from __future__ import annotations

import json
import socket
import sys

HOST = "127.0.0.1"


def exchange(sock: socket.socket, name: str) -> int:
    """Says its name and waits for the other end to be done."""
    sock.sendall(name.encode())
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(100):
        pass
    sock.close()
    return len(name)


def send_datagrams(ports: list[int]) -> int:
    """One socket, two peers in turn."""
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(2):
            for name, port in zip(("datagram-a", "datagram-b"), ports, strict=True):
                sent += sock.sendto(name.encode(), (HOST, port))
                sock.recv(100)
    return sent


def main() -> None:
    ports, path = [int(word) for word in sys.argv[1:5]], sys.argv[5]
    older = {
        "old-a": socket.create_connection((HOST, ports[0])),
        "old-b": socket.create_connection((HOST, ports[1])),
    }
    for sock in older.values():
        sock.sendall(b"older")
    with socket.create_server((HOST, 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        older["old-served"] = listener.accept()[0]
        older["old-served"].recv(5)
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sent = sum(exchange(sock, name) for name, sock in older.items())
        for name, port in (("new-a", ports[0]), ("new-b", ports[1])):
            sent += exchange(socket.create_connection((HOST, port)), name)
        served = listener.accept()[0]
        served.recv(5)
        sent += exchange(served, "new-served")
    local = socket.socket(socket.AF_UNIX)
    local.connect(path)
    sent += exchange(local, "local")
    one, other = socket.socketpair()
    with one, other:
        sent += one.send(b"internal")
        other.recv(100)
    sent += send_datagrams(ports[2:])
    sys.stdout.write(json.dumps(sent) + "\n")


main()
