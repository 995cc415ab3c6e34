"""What is wrong with an exchange, in words; and a response that was read in part."""

from __future__ import annotations

import h11
import pytest

from kebpf.protocols.base import LeavingPairer, Mark
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.parser import Message
from kebpf.protocols.http1.turns import Turn, describe_loss, describe_message_loss, make_interim
from tests.protocols.http1.wire import CHUNKED_RESPONSE, C, Feed, S, make_get, make_ok


def make_message(**changes: object) -> Message:
    message = Message({"headers": []}, "none", Mark(1), Mark(1), Mark(1))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_losses_name_their_size() -> None:
    assert describe_loss(1234, "the response") == "1,234 bytes of the response were lost"
    assert describe_loss(1, "a request") == "1 byte of a request was lost"
    assert describe_loss(0, "x") == "an unknown number of bytes of x were lost"
    unknown = make_message(lost_size=5, has_unknown_loss=True)
    assert "unknown" in str(describe_message_loss(unknown, "request"))
    assert "67,108,864" in str(describe_message_loss(make_message(is_oversized=True), "request"))
    assert describe_message_loss(make_message(), "request") is None


def test_all_problems_are_told() -> None:
    turn = Turn(make_message(lost_size=2), make_message(lost_size=3), problem="and more")
    assert turn.make_exchange().problem == (
        "2 bytes of the request were lost; 3 bytes of the response were lost; and more"
    )
    assert not turn.is_complete()


def test_interim_keeps_its_layout() -> None:
    message = make_message(head={"status": 103, "version": "1.1", "headers": [], "layout": []})
    assert make_interim(message) == {"status": 103, "headers": [], "layout": []}


def leave(feed: Feed) -> None:
    """The connection is no more."""
    assert isinstance(feed.pairer, LeavingPairer)
    feed.pairer.leave()


def answer_in_part(response: bytes) -> Feed:
    return Feed().send((C, make_get("/1")), (S, response))


class TestLeft:
    """The client closed before it had read the whole response."""

    def leave_early(self, feed: Feed) -> Feed:
        leave(feed.close(C))
        return feed.finish()

    @pytest.mark.parametrize("size", [0, 3])
    def test_what_it_read_is_the_response(self, size: int) -> None:
        whole = make_ok(b"abcdef")
        feed = self.leave_early(answer_in_part(whole[: len(whole) - 6 + size]))
        assert feed.pairs() == [("/1", b"abcdef"[:size])]
        response = feed.exchanges[0].response
        assert response is not None
        assert response["is_cut"] and ["Content-Length", "6"] in response["headers"]
        assert HTTP1.write_response(response) == whole[: len(whole) - 6 + size]

    def test_until_the_end(self) -> None:
        feed = self.leave_early(answer_in_part(b"HTTP/1.1 200 OK\r\n\r\nonly so f"))
        assert feed.pairs() == [("/1", b"only so f")]

    def test_in_chunks(self) -> None:
        part = CHUNKED_RESPONSE[: CHUNKED_RESPONSE.index(b"pedia") + 2]
        feed = self.leave_early(answer_in_part(part))
        assert feed.pairs() == [("/1", b"Wikipe")]
        (response,) = [one.response for one in feed.exchanges]
        assert response is not None
        written = HTTP1.write_response(response)
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(written)
        assert isinstance(connection.next_event(), h11.Response)
        assert connection.next_event() == h11.Data(b"Wikipe", chunk_start=True, chunk_end=True)
        assert connection.next_event() is h11.NEED_DATA

    def test_not_while_the_connection_is_open(self) -> None:
        feed = answer_in_part(make_ok(b"abc")[:-1]).close(C).finish()
        assert feed.problems() == ["the recording ended before the response was complete"]

    def test_not_when_the_server_left(self) -> None:
        feed = self.leave_early(answer_in_part(make_ok(b"abc")[:-1]).close(S))
        assert feed.problems() == ["the response was cut off"]

    def test_not_when_the_connection_broke(self) -> None:
        feed = answer_in_part(make_ok(b"abc")[:-1])
        leave(feed)
        problem = "the recording ended before the response was complete"
        assert feed.finish().problems() == [problem]

    @pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
    def test_not_without_a_head(self, response: bytes) -> None:
        feed = self.leave_early(answer_in_part(response))
        assert feed.problems() == ["the recording ended before the response was complete"]
