"""A made-up service, as records: what the kernel would have sent of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.capture.eventlog import LogHead
from kebpf.capture.events import SocketRole
from tests.capture.records import Socket

SECOND_NS = 1_000_000_000
REQUEST = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
BODY = b'{"cart": "seven"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + BODY
GET = b"*2\r\n$3\r\nGET\r\n$6\r\ncart:7\r\n"
VALUE = b"$5\r\nseven\r\n"

HEAD = LogHead(
    clock_offset_ns=1_700_000_000 * SECOND_NS,
    pids=[100],
    listening=[8080],
    sockets=[55],
    command=["shop", "--port", "8080"],
    executable="/usr/bin/shop",
    kernel="6.1.0",
    target="unit shop.service",
    filters=["--port 8080"],
)


@dataclass
class Shop:
    """A made-up service: one inbound connection and one to Redis, in one thread."""

    inbound: Socket = field(default_factory=lambda: Socket(address=1))
    redis: Socket = field(default_factory=lambda: Socket(address=2))
    records: list[bytes] = field(default_factory=list)

    def open(self, before: tuple[int, int] = (0, 0)) -> Shop:
        self.records += [
            self.inbound.open(SocketRole.SERVER, ("10.0.0.1", 8080), ("10.0.0.9", 51000), before),
            self.redis.open(remote=("10.0.0.2", 6379), before=before),
        ]
        return self

    def serve(self, call: bytes = GET) -> Shop:
        """A request, a call within it, the answer; then two quiet seconds."""
        self.records.append(self.inbound.receive(REQUEST))
        self.redis.time_ns = self.inbound.time_ns
        self.records += [self.redis.send(call), self.redis.receive(VALUE)]
        self.inbound.time_ns = self.redis.time_ns
        self.records.append(self.inbound.send(RESPONSE))
        self.inbound.time_ns += 2 * SECOND_NS
        return self

    def close(self) -> Shop:
        self.redis.time_ns = self.inbound.time_ns
        self.records += [self.inbound.close(), self.redis.close()]
        return self
