"""Writes the first files of the corpus, conversations as they are on the wire: ``-m …seeds``."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from kebpf.recording.casefile import write_case
from kebpf.recording.journal import Entry, Extent, pack_entry
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.mockfile import pack_mock
from tests.capture.records import Socket
from tests.fuzz.targets import make_chunks, with_head
from tests.protocols.dns.builders import (
    frame,
    make_edns_query,
    make_query,
    make_response,
    make_rich_response,
)
from tests.reassembly.javaframes import make_report, make_start
from tests.recording.builders import make_case, make_manifest, make_mock
from tests.recording.shop import GET, REQUEST, RESPONSE, VALUE, Shop

CORPUS = Path(__file__).with_name("corpus")
ME, PEER = False, True
Said = tuple[bool, bytes]


def say(kind: bytes, *parts: bytes) -> bytes:
    """A message of PostgreSQL's protocol, version 3."""
    payload = b"".join(parts)
    return kind + struct.pack(">I", 4 + len(payload)) + payload


def start_up(*words: bytes) -> bytes:
    payload = struct.pack(">I", 196608) + b"".join(word + b"\0" for word in words) + b"\0"
    return struct.pack(">I", 4 + len(payload)) + payload


READY = say(b"Z", b"I")
ROW = struct.pack(">h", 2) + struct.pack(">i", 2) + b"42" + struct.pack(">i", -1)
COLUMNS = struct.pack(">h", 2) + b"".join(
    name + b"\0" + struct.pack(">IhIhih", 0, 0, type_, size, -1, 0)
    for name, type_, size in ((b"id", 23, 4), (b"made", 1184, 8))
)
GREETED = (
    say(b"R", struct.pack(">I", 0))
    + say(b"S", b"server_version\x0015.4\0")
    + say(b"K", struct.pack(">II", 7, 9))
    + READY
)
HTTP_POST = (
    b"POST /a?b=c%20d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n4\r\n [1]\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n'
)


def list_postgres() -> Iterator[list[Said]]:
    greeting = [(ME, start_up(b"user", b"shop", b"database", b"shop")), (PEER, GREETED)]
    done = say(b"C", b"SELECT 1\0") + READY
    rows = say(b"T", COLUMNS) + say(b"D", ROW) + done
    yield [*greeting, (ME, say(b"Q", b"SELECT id, made FROM cart\0")), (PEER, rows)]
    bound = b"\0s\0" + struct.pack(">hhhi", 1, 1, 1, 4) + struct.pack(">i", 42)
    asked = [
        say(b"P", b"s\0SELECT $1\0", struct.pack(">hI", 1, 23)),
        say(b"D", b"Ss\0"),
        say(b"B", bound, struct.pack(">hh", 1, 1)),
        say(b"E", b"\0", struct.pack(">i", 0)),
        say(b"S"),
    ]
    answer = say(b"1") + say(b"t", struct.pack(">hI", 1, 23)) + say(b"T", COLUMNS) + say(b"2")
    yield [*greeting, (ME, b"".join(asked)), (PEER, answer + say(b"D", ROW) + done)]
    copied = [(ME, say(b"d", b"1\ta\n") + say(b"c")), (PEER, say(b"C", b"COPY 1\0") + READY)]
    into = say(b"G", struct.pack(">bhhh", 0, 2, 0, 0))
    yield [*greeting, (ME, say(b"Q", b"COPY cart FROM STDIN\0")), (PEER, into), *copied]
    failed = say(b"E", b"SERROR\0C42P01\0Mno such table\0\0") + say(b"Z", b"E")
    yield [*greeting, (ME, say(b"Q", b"BEGIN; SELECT 1 FROM none\0")), (PEER, failed)]
    yield [(ME, struct.pack(">II", 8, 80877103)), (PEER, b"S"), (ME, b"\x16\x03\x01\x00\x05hello")]
    scram = say(b"R", struct.pack(">I", 10), b"SCRAM-SHA-256\0\0")
    first = b"SCRAM-SHA-256\0" + struct.pack(">i", 12) + b"n,,n=,r=abcd"
    yield [greeting[0], (PEER, scram), (ME, say(b"p", first))]
    yield [(ME, struct.pack(">IIII", 16, 80877102, 7, 9))]


def list_http() -> Iterator[list[Said]]:
    yield [(ME, REQUEST), (PEER, RESPONSE), (ME, REQUEST), (PEER, RESPONSE)]
    body = gzip.compress(b'{"a": [1, 2.5, "\\u00e9"]}', mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    yield [(ME, HTTP_POST), (PEER, b"HTTP/1.1 100 Continue\r\n\r\n" + head + body)]
    yield [(ME, b"HEAD / HTTP/1.0\r\n\r\n"), (PEER, b"HTTP/1.0 304 Not Modified\r\n\r\n")]
    yield [(ME, b"CONNECT a:443 HTTP/1.1\r\n\r\n"), (PEER, b"HTTP/1.1 200 OK\r\n\r\n"), (ME, b"x")]
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    yield [
        (ME, b"GET /ws HTTP/1.1\r\nHost: x\r\n" + upgrade),
        (PEER, b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\x81\x02hi"),
    ]


def list_redis() -> Iterator[list[Said]]:
    yield [(ME, GET), (PEER, VALUE), (ME, b"PING\r\n"), (PEER, b"+PONG\r\n")]
    yield [
        (ME, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
        (PEER, b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n"),
        (ME, b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n$4\r\nEXEC\r\n"),
        (PEER, b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"),
    ]
    yield [
        (ME, b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"),
        (PEER, b">3\r\n+subscribe\r\n+c\r\n:1\r\n>3\r\n+message\r\n+c\r\n+hi\r\n"),
    ]
    many = b"*5\r\n$-1\r\n-ERR no\r\n,1.5\r\n#t\r\n(123456789012345678901234567890\r\n"
    yield [(ME, b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"), (PEER, many + b"~1\r\n_\r\n")]


def list_dns() -> Iterator[list[Said]]:
    yield [(ME, make_query()), (PEER, make_response())]
    yield [(ME, make_edns_query()), (PEER, make_rich_response())]
    yield [(ME, frame(make_query())), (PEER, frame(make_rich_response()))]


CONVERSATIONS = {
    "postgres": list_postgres,
    "http": list_http,
    "redis": list_redis,
    "dns": list_dns,
    "opaque": list_redis,
}


def list_seeds() -> Iterator[tuple[str, bytes]]:
    """Targets, and what to start them with."""
    for protocol, list_all in CONVERSATIONS.items():
        for said in list_all():
            yield f"{protocol}-watch", b"\0" + make_chunks(*said)
            yield f"{protocol}-watch", b"\1" + make_chunks(*said[1:])
            yield f"{protocol}-serve", b"\0" + make_chunks(*said)
            client = b"".join(data for is_peer, data in said if not is_peer)[:255]
            server = b"".join(data for is_peer, data in said if is_peer)
            yield f"{protocol}-detect", bytes([len(client)]) + client + server
            yield "wire", b"\0" + make_chunks(*said)
            yield "wire", b"\1" + make_chunks(*said)
    yield "events", b"".join(Shop().open().serve().close().records)
    one = Socket(address=3, transport=1)
    yield "events", one.open(paths=(b"/run/a", b"")) + one.gap(0, 9) + one.close()
    yield "events", b"".join(with_head(kind, bytes(400)) for kind in range(20))
    reports = [make_start(), make_report(2, b"GET / HTTP/1.1\r\n\r\n"), make_report(4)]
    yield "java", make_chunks(*((ME, one) for one in reports))
    for version in (b"\x03\x03", b"\x03\x01"):
        hello = version + bytes(32) + b"\0\0\x02\x13\x01\x01\0"
        names = b"\0\0\0\x08\0\x06\0\0\x03a.b" + b"\0\x10\0\x05\0\x03\x02h2"
        hello += struct.pack(">H", len(names)) + names
        shake = b"\x01" + struct.pack(">I", len(hello))[1:] + hello
        yield "tls", hello
        yield "tls", b"\x16" + version + struct.pack(">H", len(shake)) + shake
    yield "files", pack_mock(make_mock()) * 2
    yield "files", write_case(make_case()).encode()
    yield "files", write_manifest(make_manifest()).encode()
    yield "files", pack_entry(Entry("case", 1, Extent(0, 10, 5), "get-a", 7, 8))


def main() -> None:
    for number, (name, data) in enumerate(list_seeds()):
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{number:03}").write_bytes(data)


if __name__ == "__main__":
    main()
