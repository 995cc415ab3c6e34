"""Recorded bytes given back turn by turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Answerer, Document, Miss, ServerSession
from kebpf.protocols.opaque import OPAQUE
from tests.protocols.http1.wire import C, Feed, S, cut


class Answers(Answerer):
    """Answers from a dictionary, and remembers what was asked."""

    def __init__(self, responses: dict[bytes, bytes]) -> None:
        self.responses = responses
        self.asked: list[bytes] = []

    def answer(self, request: Document) -> Document | Miss:
        self.asked.append(request["data"])
        data = self.responses.get(request["data"])
        return Miss("never recorded") if data is None else {"data": data}

    def peek(self, request: Document) -> bool:
        return request["data"] in self.responses

    def session(self, request: Document) -> Document | None:
        return None


RECORDED = {b"AB": b"1", b"ABC": b"2", b"ABCD": b"3", b"X" * 50: b"4", b"ONEWAY": b""}


def make_server(
    responses: dict[bytes, bytes] = RECORDED, greeting: bytes | None = None, known: bool = True
) -> tuple[ServerSession, Answers]:
    facts: list[Document] = []
    if known:
        facts = [
            {"request": {"data": one}, "response": {"data": two}} for one, two in responses.items()
        ]
    if greeting is not None:
        facts.append({"request": {"data": b""}, "response": {"data": greeting}})
    answers = Answers(responses)
    return OPAQUE.make_server(answers, facts), answers


def test_a_request_in_pieces_is_asked_about_once() -> None:
    server, answers = make_server()
    assert server.receive_data(b"X" * 49) == b"" and answers.asked == []
    assert server.receive_data(b"X") == b"4"
    assert answers.asked == [b"X" * 50]


def test_the_longest_that_fits() -> None:
    assert make_server()[0].receive_data(b"ABC") == b"2"
    assert make_server()[0].receive_data(b"ABCAB") == b"21"


def test_one_way_requests_and_what_follows() -> None:
    server, answers = make_server()
    assert server.receive_data(b"ONEWAYAB") == b"1"
    assert answers.asked == [b"ONEWAY", b"AB"]


def test_a_different_request_is_one_miss() -> None:
    server, answers = make_server()
    assert server.receive_data(b"Z") == b"" and server.is_closed
    assert server.receive_data(b"Z") == b"" and server.receive_eof() == b""
    assert answers.asked == [b"Z"]


def test_end_of_the_client() -> None:
    server, answers = make_server()
    assert server.receive_data(b"X") == b""
    assert server.receive_eof() == b"" and server.is_closed
    assert answers.asked == [b"X"]
    server, answers = make_server()
    assert server.receive_eof() == b"" and server.is_closed and answers.asked == []


def test_greeting() -> None:
    server, answers = make_server(greeting=b"220 hi")
    assert server.receive_data(b"") == b"220 hi"
    assert server.receive_data(b"") == b""
    assert server.receive_data(b"AB") == b"1" and answers.asked == [b"AB"]
    assert make_server(greeting=b"220 hi")[0].receive_data(b"AB") == b"220 hi1"


def test_greeting_from_the_answerer() -> None:
    class Greeter(Answers):
        def session(self, request: Document) -> Document | None:
            return {"data": b"hello"} if request["data"] == b"" else None

    assert OPAQUE.make_server(Greeter({}), []).receive_data(b"") == b"hello"


def test_the_server_hangs_up() -> None:
    (exchange,) = Feed(OPAQUE.make_pairer()).send((C, b"q"), (S, b"a")).close(S).exchanges

    class Recorded(Answers):
        def answer(self, request: Document) -> Document | Miss:
            return exchange.response or Miss("")

    server = OPAQUE.make_server(Recorded({}), [])
    assert server.receive_data(b"q") == b"a" and server.is_closed


def test_without_facts_each_piece_is_a_request() -> None:
    server, answers = make_server(known=False)
    assert server.receive_data(b"AB") == b"1"
    assert server.receive_data(b"ABC") == b"2"
    assert answers.asked == [b"AB", b"ABC"]


@given(st.lists(st.integers(0, 200), max_size=8))
def test_chunking_never_matters_without_common_beginnings(points: list[int]) -> None:
    recorded = {b"hello": b"1", b"goodbye": b"2", b"\x00\x01": b"3"}
    server, answers = make_server(recorded)
    stream = b"hello\x00\x01goodbyehello"
    assert b"".join(server.receive_data(piece) for piece in cut(stream, points)) == b"1321"
    assert answers.asked == [b"hello", b"\x00\x01", b"goodbye", b"hello"]
