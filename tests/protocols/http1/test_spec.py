"""The protocol as the registry sees it."""

from __future__ import annotations

from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.http1 import HTTP1
from tests.protocols.http1.wire import RFC_REQUEST, RFC_RESPONSE, Answers, C, Feed, S, make_ok


def test_recorded_then_served() -> None:
    """What the pairer recorded, the server answers with, byte for byte."""
    spec: ProtocolSpec = HTTP1
    assert spec.name == "http"
    (exchange,) = Feed(spec.make_pairer()).send((C, RFC_REQUEST), (S, RFC_RESPONSE)).exchanges
    assert exchange.response is not None and exchange.protocol == "http"
    answers = Answers({exchange.request["target"]: exchange.response})
    server = spec.make_server(answers, [])
    assert server.receive_data(spec.write_request(exchange.request)) == RFC_RESPONSE
    assert spec.identity(answers.asked[0]) == spec.identity(exchange.request)
    assert spec.view(exchange.response)["status"] == 200


def test_joined_pairer() -> None:
    feed = Feed(HTTP1.make_pairer(True)).send((S, b"rest"), (C, RFC_REQUEST), (S, make_ok(b"x")))
    assert feed.pairs() == [("/hello.txt", b"x")]
