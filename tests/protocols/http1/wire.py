"""Builders: pieces of two directions with their marks, and the literal messages of the RFCs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

from kebpf.protocols.base import Answerer, Document, Exchange, Mark, Miss, Pairer, Sender
from kebpf.protocols.http1 import HTTP1

C, S = Sender.CLIENT, Sender.SERVER
Piece = tuple[Sender, bytes | int]  # an int is a gap of that size

# RFC 9112 section 2.1 / RFC 9110 section 3.9
RFC_REQUEST = (
    b"GET /hello.txt HTTP/1.1\r\n"
    b"User-Agent: curl/7.64.1\r\n"
    b"Host: www.example.com\r\n"
    b"Accept-Language: en, mi\r\n"
    b"\r\n"
)
RFC_RESPONSE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Date: Mon, 27 Jul 2009 12:28:53 GMT\r\n"
    b"Server: Apache\r\n"
    b"Last-Modified: Wed, 22 Jul 2009 19:15:56 GMT\r\n"
    b'ETag: "34aa387-d-1568eb00"\r\n'
    b"Accept-Ranges: bytes\r\n"
    b"Content-Length: 51\r\n"
    b"Vary: Accept-Encoding\r\n"
    b"Content-Type: text/plain\r\n"
    b"\r\n"
    b"Hello World! My content includes a trailing CRLF.\r\n"
)
CHUNKED_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Expires\r\n\r\n"
    b'4;name=value\r\nWiki\r\n6 ; q="a;b"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n'
    b"000\r\nExpires: never\r\nX-Sum: 1\r\n\r\n"
)


class Feed:
    """Hands pieces to a pairer with true offsets and one nanosecond between them."""

    def __init__(self, pairer: Pairer | None = None, joined: bool = False) -> None:
        self.pairer = pairer or HTTP1.make_pairer(joined)
        self.exchanges: list[Exchange] = []
        self._clock = count(1)
        self._offsets = {C: 0, S: 0}

    def mark(self, sender: Sender) -> Mark:
        return Mark(next(self._clock), 7, self._offsets[sender])

    def send(self, *pieces: Piece) -> Feed:
        for sender, piece in pieces:
            mark = self.mark(sender)
            if isinstance(piece, int):
                self.exchanges += self.pairer.receive_gap(sender, piece, mark)
                self._offsets[sender] += piece
            else:
                self.exchanges += self.pairer.receive_data(sender, piece, mark)
                self._offsets[sender] += len(piece)
        return self

    def close(self, sender: Sender) -> Feed:
        self.exchanges += self.pairer.receive_eof(sender, self.mark(sender))
        return self

    def finish(self) -> Feed:
        self.exchanges += self.pairer.finish(self.mark(C))
        return self

    def problems(self) -> list[str | None]:
        return [exchange.problem for exchange in self.exchanges]

    def pairs(self) -> list[tuple[str, bytes]]:
        """Target and body of the response of every exchange without a problem."""
        return [
            (exchange.request["target"], exchange.response["body"])
            for exchange in self.exchanges
            if exchange.problem is None and exchange.response is not None
        ]


def split_bytes(sender: Sender, data: bytes) -> list[Piece]:
    return [(sender, data[at : at + 1]) for at in range(len(data))]


def make_get(target: str, *headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: h", *headers, "", ""]
    return "\r\n".join(lines).encode()


def make_ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def make_chunked_ok(*chunks: bytes) -> bytes:
    parts = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n\r\n"


def read_request(data: bytes) -> Document:
    """The document of one whole request, as the pairer gives it."""
    exchanges = Feed().send((C, data)).finish().exchanges
    assert len(exchanges) == 1
    return exchanges[0].request


def read_response(data: bytes, request: bytes = RFC_REQUEST) -> Document:
    """The document of one whole response, as the pairer gives it."""
    exchanges = Feed().send((C, request), (S, data)).close(S).exchanges
    assert len(exchanges) == 1 and exchanges[0].response is not None
    return exchanges[0].response


class Answers(Answerer):
    """Answers from a dictionary by target, and remembers what was asked."""

    def __init__(self, responses: dict[str, Document] | None = None) -> None:
        self.responses = responses or {}
        self.asked: list[Document] = []

    def answer(self, request: Document) -> Document | Miss:
        self.asked.append(request)
        return self.responses.get(request["target"]) or Miss("never recorded: " + request["target"])

    def peek(self, request: Document) -> bool:
        return request["target"] in self.responses

    def session(self, request: Document) -> Document | None:
        return None


def cut(data: bytes, points: Sequence[int]) -> list[bytes]:
    """``data`` cut at the given points (taken modulo its size)."""
    places = sorted({point % (len(data) + 1) for point in points} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]
