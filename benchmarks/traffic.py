"""The made-up traffic of the assembler's benchmark, in the shapes that usual programs give it."""

from __future__ import annotations

import json
import struct

from benchmarks.event_logs import Traffic
from kebpf.capture.events import SocketRole

Pieces = tuple[list[bytes], list[bytes]]


def _http_request(number: int) -> bytes:
    return (
        f"GET /items/{number % 1000}?page=2 HTTP/1.1\r\n"
        "Host: shop.example:8000\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
        "Accept: application/json, text/plain, */*\r\n"
        "Accept-Encoding: gzip, deflate\r\n"
        "Accept-Language: en-GB,en;q=0.5\r\n"
        "Authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n"
        f"X-Request-ID: 7f3c2a10-{number:08x}\r\n"
        "Connection: keep-alive\r\n\r\n"
    ).encode()


def _http_response(number: int) -> tuple[bytes, bytes]:
    item = {"id": number, "name": f"item {number}", "price": "12.50", "tags": ["a", "b", "c"]}
    body = json.dumps({"items": [item] * 3, "total": number}).encode()
    head = (
        "HTTP/1.1 200 OK\r\n"
        "date: Sun, 22 Nov 2026 10:00:00 GMT\r\n"
        "server: uvicorn\r\n"
        f"content-length: {len(body)}\r\n"
        "content-type: application/json\r\n"
        "cache-control: no-store\r\n"
        f"x-request-id: 7f3c2a10-{number:08x}\r\n\r\n"
    )
    return head.encode(), body


def _http_whole(number: int) -> Pieces:
    return [_http_request(number)], [b"".join(_http_response(number))]


def _http_split(number: int) -> Pieces:
    return [_http_request(number)], list(_http_response(number))


def _http_post(number: int) -> Pieces:
    body = json.dumps({"item": number, "amount": 2, "note": "for the office"}).encode()
    request = _http_request(number).replace(b"GET ", b"POST ", 1)[:-2]
    fields = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    chunk = b"".join(_http_response(number)[1:])
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    return [request + fields + body], [head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(chunk), chunk)]


def _redis_pair(number: int) -> tuple[bytes, bytes]:
    key = b"key:%012d" % (number % 10_000)
    if number % 2:
        return b"*2\r\n$3\r\nGET\r\n$16\r\n%s\r\n" % key, b"$3\r\nxxx\r\n"
    return b"*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$3\r\nxxx\r\n" % key, b"+OK\r\n"


def _redis_turn(number: int) -> Pieces:
    asked, answered = _redis_pair(number)
    return [asked], [answered]


def _redis_pipeline(number: int) -> Pieces:
    pairs = [_redis_pair(number * 16 + each) for each in range(16)]
    return [b"".join(asked for asked, _ in pairs)], [b"".join(answered for _, answered in pairs)]


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


def _value(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


_STARTUP = struct.pack("!II", 33, 3 << 16) + b"user\0shop\0database\0shop\0\0"
_GREETING = (
    _message(b"R", struct.pack("!I", 0))
    + _message(b"S", b"server_version\00015.8\0")
    + _message(b"S", b"client_encoding\0UTF8\0")
    + _message(b"K", bytes(8))
    + _message(b"Z", b"I")
)
_SQL = b"SELECT id, name, price FROM items WHERE id = $1 AND shop = $2\0"


def _column(name: bytes, oid: int, size: int) -> bytes:
    return name + b"\0" + struct.pack("!IhIhih", 16_400, 1, oid, size, -1, 0)


_COLUMNS = struct.pack("!H", 3) + b"".join(
    [_column(b"id", 23, 4), _column(b"name", 25, -1), _column(b"price", 1700, -1)]
)


def _bind(number: int, statement: bytes) -> bytes:
    formats = struct.pack("!HHHH", 2, 0, 0, 2)
    values = _value(b"%d" % number) + _value(b"main street")
    return _message(b"B", b"\0" + statement + b"\0" + formats + values + struct.pack("!HH", 1, 0))


def _row(number: int) -> bytes:
    values = _value(b"%d" % number) + _value(b"a chair, oak") + _value(b"129.90")
    return _message(b"D", struct.pack("!H", 3) + values)


def _postgres_turn(number: int) -> Pieces:
    """What psycopg and asyncpg's first use send: everything in one group."""
    asked = (
        _message(b"P", b"\0" + _SQL + struct.pack("!HII", 2, 23, 25))
        + _bind(number, b"")
        + _message(b"D", b"P\0")
        + _message(b"E", b"\0" + bytes(4))
        + _message(b"S", b"")
    )
    answered = (
        _message(b"1", b"")
        + _message(b"2", b"")
        + _message(b"T", _COLUMNS)
        + _row(number)
        + _message(b"C", b"SELECT 1\0")
        + _message(b"Z", b"I")
    )
    return [asked], [answered]


def _postgres_prepared(number: int) -> Pieces:
    """A statement prepared before: what drivers and pgbench send from then on."""
    asked = _bind(number, b"s1") + _message(b"E", b"\0" + bytes(4)) + _message(b"S", b"")
    answered = (
        _message(b"2", b"") + _row(number) + _message(b"C", b"SELECT 1\0") + _message(b"Z", b"I")
    )
    return [asked], [answered]


_PREPARE = (
    _message(b"P", b"s1\0" + _SQL + struct.pack("!HII", 2, 23, 25))
    + _message(b"D", b"Ss1\0")
    + _message(b"S", b""),
    _message(b"1", b"")
    + _message(b"t", struct.pack("!HII", 2, 23, 25))
    + _message(b"T", _COLUMNS)
    + _message(b"Z", b"I"),
)
_OPENING = (_STARTUP, _GREETING)

TRAFFIC = (
    Traffic("http: GET", SocketRole.SERVER, 8000, 8, _http_whole),
    Traffic("http: GET, answer in two", SocketRole.SERVER, 8000, 8, _http_split),
    Traffic("http: POST, chunked answer", SocketRole.SERVER, 8000, 8, _http_post),
    Traffic("redis", SocketRole.CLIENT, 6379, 20, _redis_turn),
    Traffic("redis: -P 16", SocketRole.CLIENT, 6379, 20, _redis_pipeline, exchanges=16),
    Traffic("served redis", SocketRole.SERVER, 6379, 20, _redis_turn, is_counted=True),
    Traffic("postgres", SocketRole.CLIENT, 5432, 8, _postgres_turn, lead=(_OPENING,)),
    Traffic(
        "postgres: prepared",
        SocketRole.CLIENT,
        5432,
        8,
        _postgres_prepared,
        lead=(_OPENING, _PREPARE),
    ),
)
