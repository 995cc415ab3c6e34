"""The server session, asked by h11 and http.client as clients."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, ServerSession
from kebpf.protocols.http1 import HTTP1
from tests.protocols.http1.wire import (
    CHUNKED_RESPONSE,
    RFC_RESPONSE,
    Answers,
    cut,
    make_get,
    make_ok,
    read_response,
)

POST = b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"


def make_answers() -> Answers:
    return Answers(
        {
            "/hello": read_response(RFC_RESPONSE),
            "/chunked": read_response(CHUNKED_RESPONSE),
            "/close": read_response(b"HTTP/1.1 200 OK\r\n\r\nuntil close"),
            "/p": read_response(b"HTTP/1.1 100 Continue\r\n\r\n" + make_ok(b"posted")),
            "/none": read_response(b"HTTP/1.1 204 No Content\r\n\r\n"),
            "/last": read_response(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                                   b"Content-Length: 1\r\n\r\nx"),
            "/ws": read_response(b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
                                 make_get("/ws", "Upgrade: x")),
        }
    )  # fmt: skip


def make_server() -> tuple[ServerSession, Answers]:
    answers = make_answers()
    return HTTP1.make_server(answers, []), answers


def ask(data: bytes) -> tuple[bytes, bool]:
    server, _ = make_server()
    return server.receive_data(data), server.is_closed


def read_by_h11(data: bytes, method: str = "GET") -> tuple[int, bytes]:
    """Status and body as h11's client reads them."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    event = connection.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = connection.next_event()
    assert isinstance(event, h11.Response)
    status, body = event.status_code, b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return status, body


class TestAnswers:
    def test_recorded_bytes_come_back(self) -> None:
        assert ask(make_get("/hello")) == (RFC_RESPONSE, False)

    def test_chunked(self) -> None:
        answer, is_closed = ask(make_get("/chunked"))
        assert read_by_h11(answer) == (200, b"Wikipedia in \r\n\r\nchunks.")
        assert b"Expires: never" in answer and not is_closed

    def test_chunked_for_an_old_client(self) -> None:
        answer, is_closed = ask(b"GET /chunked HTTP/1.0\r\n\r\n")
        assert b"chunked" not in answer.partition(b"\r\n\r\n")[0]
        assert answer.endswith(b"\r\n\r\nWikipedia in \r\n\r\nchunks.") and is_closed

    def test_close_delimited(self) -> None:
        answer, is_closed = ask(make_get("/close"))
        assert read_by_h11(answer) == (200, b"until close") and is_closed

    def test_length_follows_a_substituted_body(self) -> None:
        server, answers = make_server()
        answers.responses["/hello"] = answers.responses["/hello"] | {"body": b"other"}
        answer = server.receive_data(make_get("/hello"))
        assert read_by_h11(answer) == (200, b"other")
        assert b"\r\nAccept-Ranges: bytes\r\nContent-Length: 5\r\nVary:" in answer

    def test_what_its_reader_did_not_read_is_not_made_up(self) -> None:
        server, answers = make_server()
        cut_off = answers.responses["/hello"] | {"body": b"Hello", "is_cut": True}
        answers.responses["/hello"] = cut_off
        assert server.receive_data(make_get("/hello")) == RFC_RESPONSE[:-46]
        assert server.is_closed

    def test_connection_close(self) -> None:
        assert ask(make_get("/last"))[1] is True
        assert ask(make_get("/hello", "Connection: close"))[1] is True
        assert ask(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[1] is False

    def test_head(self) -> None:
        answer, _ = ask(b"HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer == RFC_RESPONSE[:-51]

    def test_no_body(self) -> None:
        assert ask(make_get("/none")) == (b"HTTP/1.1 204 No Content\r\n\r\n", False)

    def test_switch_ends_the_session(self) -> None:
        answer, is_closed = ask(make_get("/ws", "Upgrade: x") + b"\x81\x00")
        assert answer == b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n" and is_closed

    def test_pipelined(self) -> None:
        server, answers = make_server()
        got = server.receive_data(make_get("/hello") + make_get("/none") + make_get("/hello")[:9])
        assert got == RFC_RESPONSE + b"HTTP/1.1 204 No Content\r\n\r\n"
        assert server.receive_data(make_get("/hello")[9:]) == RFC_RESPONSE
        assert [request["target"] for request in answers.asked] == ["/hello", "/none", "/hello"]


class TestContinue:
    def test_is_sent_when_waited_for(self) -> None:
        server, answers = make_server()
        assert server.receive_data(POST) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert answers.asked == []
        assert server.receive_data(b"abc") == make_ok(b"posted")
        assert answers.asked[0]["body"] == b"abc"

    def test_is_not_sent_when_the_body_is_there(self) -> None:
        assert ask(POST + b"abc") == (make_ok(b"posted"), False)


class TestRefusals:
    def test_miss(self) -> None:
        answer, is_closed = ask(make_get("/unknown"))
        assert read_by_h11(answer) == (502, b"never recorded: /unknown")
        assert b"\r\nkebpf-miss: 1\r\n" in answer
        assert b"\r\nContent-Type: text/plain" in answer and not is_closed

    def test_miss_for_head(self) -> None:
        answer, _ = ask(b"HEAD /unknown HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1
        assert read_by_h11(answer, "HEAD") == (502, b"")

    @pytest.mark.parametrize(
        "data", [b"\x16\x03\x01\n", b"GET /\r\n", b"GET / HTTP/1.1\r\nx\r\n\r\n"]
    )
    def test_malformed(self, data: bytes) -> None:
        answer, is_closed = ask(data)
        assert read_by_h11(answer)[0] == 400 and is_closed
        assert b"\r\nConnection: close\r\n" in answer

    def test_unusable_recording(self) -> None:
        server, answers = make_server()
        broken: Document = answers.responses["/hello"] | {"headers": [["A", "b\r\n\r\nx"]]}
        answers.responses["/hello"] = broken
        assert read_by_h11(server.receive_data(make_get("/hello")))[0] == 502

    def test_nothing_after_the_end(self) -> None:
        server, answers = make_server()
        assert server.receive_eof() == b"" and server.is_closed
        assert server.receive_data(make_get("/hello")) == b"" and answers.asked == []


@given(st.lists(st.integers(0, 500), max_size=10))
def test_chunking_never_matters(points: list[int]) -> None:
    stream = make_get("/hello") + make_get("/chunked") + make_get("/unknown") + make_get("/last")
    server, _ = make_server()
    got = b"".join(server.receive_data(piece) for piece in cut(stream, points))
    assert (got, server.is_closed) == ask(stream)


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    answer, is_closed = ask(data)
    assert isinstance(answer, bytes)
    assert not answer or is_closed or b"kebpf-miss" in answer
