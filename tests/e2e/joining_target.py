"""A service whose connections a test leaves halfway through a message; a program, no test.

``python joining_target.py PORT REDIS_PORT POSTGRES_PORT halfway|fresh``: with ``halfway`` it
stops in the middle of a Redis reply, of a PostgreSQL answer and of an HTTP response until a line
comes on its standard input; with ``fresh`` it only serves.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from io import IOBase

BIG = 300_000
PART = 1_000


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


STARTUP = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
PARSE = message(b"P", b"before\0SELECT $1::int + 1\0\0\0")
BIND = message(b"B", b"\0before\0\0\0\0\1\0\0\0\2" + b"41" + b"\0\0")
EXECUTE = message(b"E", b"\0\0\0\0\0")
SYNC = message(b"S", b"")


class Redis:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def send(self, *words: bytes) -> None:
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(parts))

    def read_bulk(self) -> bytes:
        size = int(self.file.readline()[1:])
        return self.file.read(size + 2)[:-2]


class Postgres:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(message(b"", STARTUP))
        self.read_answer()

    def query(self, text: bytes) -> None:
        self.socket.sendall(message(b"Q", text + b"\0"))

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data))
        return data

    def read_answer(self, begun: bytes = b"") -> bytes:
        """The first column of the last row, up to ReadyForQuery."""
        value = b""
        while True:
            head = begun[:5] if begun else self.read(5)
            size = struct.unpack("!I", head[1:])[0] - 4
            body = begun[5:] + self.read(size - len(begun[5:]))
            begun = b""
            if head[:1] == b"D":
                value = body[6:]
            if head[:1] == b"Z":
                return value


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def respond(client: socket.socket, body: bytes) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def read_path(file: IOBase) -> bytes:
    line = file.readline()
    while file.readline() not in (b"\r\n", b""):
        pass
    return line.split()[1] if line else b""


def answer(path: bytes, redis: Redis, postgres: Postgres) -> bytes:
    if path == b"/redis":
        redis.send(b"GET", b"small")
        return redis.read_bulk()
    if path == b"/postgres":
        postgres.query(b"SELECT 40 + 2")
        return postgres.read_answer()
    if path == b"/prepared":
        postgres.socket.sendall(BIND + EXECUTE + SYNC)
        return postgres.read_answer()
    return b"plain"


def serve(client: socket.socket, redis: Redis, postgres: Postgres, lock: threading.Lock) -> None:
    file = client.makefile("rb")
    while path := read_path(file):
        with lock:
            body = answer(path, redis, postgres)
        respond(client, body)


def stop_halfway(client: socket.socket, redis: Redis, postgres: Postgres) -> None:
    read_path(client.makefile("rb", buffering=0))
    body = b"x" * BIG
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (BIG, body[:PART]))
    redis.send(b"GET", b"big")
    redis_part = redis.socket.recv(PART)
    postgres.query(b"SELECT repeat('x', %d)" % BIG)
    while postgres.read(1) != b"D":  # RowDescription comes before
        postgres.read(struct.unpack("!I", postgres.read(4))[0] - 4)
    postgres_part = b"D" + postgres.read(PART)
    say("halfway")
    sys.stdin.readline()
    client.sendall(body[PART:])
    head, _, rest = redis_part.partition(b"\r\n")
    redis.file.read(int(head[1:]) + 2 - len(rest))
    assert postgres.read_answer(postgres_part) == body
    say("past it")


def main() -> None:
    port, redis_port, postgres_port = map(int, sys.argv[1:4])
    form = sys.argv[4]
    redis, postgres, lock = Redis(redis_port), Postgres(postgres_port), threading.Lock()
    postgres.socket.sendall(PARSE + SYNC)
    postgres.read_answer()
    with socket.create_server(("127.0.0.1", port)) as listener:
        say("listening")
        while True:
            client, _ = listener.accept()
            if form == "halfway":
                form = "fresh"
                stop_halfway(client, redis, postgres)
            arguments = (client, redis, postgres, lock)
            threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
