"""One direction: whole, byte by byte, with trailing bytes, and against h11 and llhttp."""

from __future__ import annotations

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import Mark, ProtocolError, Sender
from kebpf.protocols.http1.grammar import MAX_HEAD_SIZE
from kebpf.protocols.http1.parser import (
    MAX_CHUNK_LINE_SIZE,
    HeadRead,
    Message,
    MessageParser,
    MessageRead,
    TruncatedError,
)
from tests.protocols.http1.wire import CHUNKED_RESPONSE, RFC_REQUEST, RFC_RESPONSE, cut

MESSAGES = [
    (Sender.CLIENT, RFC_REQUEST),
    (Sender.CLIENT, b"\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
    (Sender.CLIENT, b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n"),
    (Sender.SERVER, RFC_RESPONSE),
    (Sender.SERVER, CHUNKED_RESPONSE),
    (Sender.SERVER, b"HTTP/1.1 204\r\n\r\n"),
]


def run(
    sender: Sender, pieces: list[bytes], method: str = "GET", most: int = 1 << 30
) -> tuple[list[Message], bytes]:
    """The first ``most`` messages of a stream and the bytes left over."""
    parser = MessageParser(sender)
    parser.method = method
    messages = []
    for number, piece in enumerate(pieces):
        parser.receive_data(piece, Mark(number))
        while event := parser.next_event():
            if isinstance(event, MessageRead):
                messages.append(event.message)
                if len(messages) == most:
                    return messages, bytes(parser.buffer.data)
    return messages, bytes(parser.buffer.data)


def documents(messages: list[Message]) -> list[dict[str, object]]:
    return [message.make_document() for message in messages]


@pytest.mark.parametrize(("sender", "wire"), MESSAGES)
class TestEachMessage:
    def test_whole_and_byte_by_byte(self, sender: Sender, wire: bytes) -> None:
        whole, rest = run(sender, [wire])
        single, _ = run(sender, [wire[at : at + 1] for at in range(len(wire))])
        assert len(whole) == 1 and rest == b""
        assert documents(single) == documents(whole)

    def test_trailing_bytes_are_left(self, sender: Sender, wire: bytes) -> None:
        messages, rest = run(sender, [wire + b"\x00trailing"])
        assert (len(messages), rest) == (1, b"\x00trailing")

    def test_every_prefix_needs_more(self, sender: Sender, wire: bytes) -> None:
        for size in range(len(wire)):
            assert run(sender, [wire[:size]])[0] == []

    def test_every_cut_is_noticed(self, sender: Sender, wire: bytes) -> None:
        for size in range(1, len(wire)):
            if not wire[:size].strip():
                continue
            parser = MessageParser(sender)
            parser.receive_data(wire[:size], Mark(0))
            parser.receive_eof()
            with pytest.raises(TruncatedError):
                while parser.next_event():
                    pass


class TestCaps:
    def test_head(self) -> None:
        with pytest.raises(ProtocolError, match="head is over"):
            run(Sender.CLIENT, [b"GET / HTTP/1.1\r\n", b"A: " + b"x" * MAX_HEAD_SIZE])

    def test_chunk_line(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with pytest.raises(ProtocolError, match="size line"):
            run(Sender.SERVER, [head, b"1;" + b"x" * MAX_CHUNK_LINE_SIZE])

    def test_trailers(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        with pytest.raises(ProtocolError, match="trailers are over"):
            run(Sender.SERVER, [head, b"A: " + b"x" * MAX_HEAD_SIZE])

    @pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"\r\n", b"1\n", b"1\r\nab\r\n"])
    def test_malformed_chunks(self, chunk: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with pytest.raises(ProtocolError):
            run(Sender.SERVER, [head + chunk])


class TestSkip:
    def test_inside_and_beyond_a_body(self) -> None:
        parser = MessageParser(Sender.CLIENT)
        assert not parser.skip(1, Mark(0))
        parser.receive_data(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab", Mark(1))
        assert isinstance(parser.next_event(), HeadRead)
        assert parser.next_event() is None
        assert not parser.skip(8, Mark(2))
        assert not parser.skip(0, Mark(2))
        assert parser.skip(7, Mark(2))
        event = parser.next_event()
        assert isinstance(event, MessageRead)
        assert (event.message.lost_size, event.message.end) == (7, Mark(2))


H11Message = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]  # method, target, fields, body


def run_h11(wire: bytes) -> list[H11Message] | None:
    """Requests as h11 reads them; ``None`` when it refuses the stream."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(wire)
    found: list[H11Message] = []
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                fields = [(name.lower(), value) for name, value in request.headers.raw_items()]
                found.append((request.method, request.target, fields, body))
                connection.send(h11.Response(status_code=204, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return found
                connection.start_next_cycle()
            else:
                return found
    except h11.RemoteProtocolError:
        return None


TOKENS = st.text("abcXYZ-!#09", min_size=1, max_size=8)
VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12
).filter(lambda text: not any(0x80 <= ord(c) <= 0xA0 for c in text))
PADS = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A valid request with any framing."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "M-SEARCH"]))
    lines = [f"{method} {draw(st.sampled_from(['/', '/a?b=c', '*', 'http://h/x']))} HTTP/1.1"]
    lines.append("Host: h")
    for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=4)):
        lines.append(f"X{name}:{draw(PADS)}{value}{draw(PADS)}")
    body = draw(st.binary(max_size=30))
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    tail = b""
    if kind == "length":
        lines.append(f"Content-Length: {len(body)}")
        tail = body
    elif kind == "chunked":
        lines.append("Transfer-Encoding: chunked")
        pieces = [piece for piece in cut(body, draw(st.lists(st.integers(0, 40)))) if piece]
        tail = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + tail


def read_like_h11(wire: bytes, most: int = 1 << 30) -> list[H11Message]:
    return [
        (
            message.head["method"].encode(),
            message.head["target"].encode("latin-1"),
            [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in message.head["headers"]
            ],
            bytes(message.body),
        )
        for message in run(Sender.CLIENT, [wire], most=most)[0]
    ]


def normalise(messages: list[H11Message]) -> list[H11Message]:
    """White space as h11 unfolds it, and transfer codings in small letters as h11 hands them on."""
    return [
        (
            method,
            target,
            [
                (name, b" ".join((v.lower() if name == b"transfer-encoding" else v).split()))
                for name, v in fields
            ],
            body,
        )
        for method, target, fields, body in messages
    ]


class TestAgainstH11:
    @given(st.lists(requests(), min_size=1, max_size=3))
    @settings(max_examples=200)
    def test_valid_streams(self, wires: list[bytes]) -> None:
        stream = b"".join(wires)
        expected = run_h11(stream)
        assert expected is not None and len(expected) == len(wires)
        assert read_like_h11(stream) == expected

    @given(requests(), st.integers(0, 500), st.binary(min_size=1, max_size=2))
    @example(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n!\n", 25, b"*")
    @example(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 46, b"K")
    @settings(max_examples=300)
    def test_what_h11_takes_we_read_the_same(self, wire: bytes, at: int, junk: bytes) -> None:
        """Mutated: we may take more (h11 wants Host, and is stricter with values), never differ."""
        at %= len(wire)
        mutated = wire[:at] + junk + wire[at + len(junk) :]
        expected = run_h11(mutated)
        if expected and b" HTTP/1." in mutated.partition(b"\n")[0]:  # h11 takes HTTP/0.1 as well
            # h11 waits for the end of a head that we refuse at its first line
            got = read_like_h11(mutated, len(expected))
            assert normalise(got) == normalise(expected)


class _Collector:
    """Callbacks of llhttp."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body


class TestAgainstLlhttp:
    @pytest.mark.parametrize("wire", [RFC_RESPONSE, CHUNKED_RESPONSE])
    def test_responses(self, wire: bytes) -> None:
        wire = wire.replace(b"6 ; ", b"6;")  # bad white space, which llhttp refuses
        reference = _Collector()
        httptools.HttpResponseParser(reference).feed_data(wire)
        (message,), _ = run(Sender.SERVER, [wire])
        fields = message.head["headers"] + message.trailers
        assert [(n.encode(), v.encode()) for n, v in fields] == reference.headers
        assert bytes(message.body) == reference.body


@given(st.sampled_from(list(Sender)), st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_garbage(sender: Sender, data: bytes, points: list[int]) -> None:
    try:
        run(sender, cut(data, points))
    except ProtocolError as error:
        assert not any(byte in str(error).encode() for byte in b"\x00\r\n")
