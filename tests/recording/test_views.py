"""Each look at an exchange is taken once, unless what is seen is large."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.views import KEPT_SIZE, Views
from tests.recording.builders import make_exchange


class Counting:
    """A protocol that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def view(self, document: Document) -> Document:
        self.asked["view"] += 1
        return {"seen": document["body"].decode()}

    def identity(self, document: Document) -> Document:
        self.asked["identity"] += 1
        return {"operation": document["target"]}


@pytest.mark.parametrize(("size", "times"), [(KEPT_SIZE, 1), (KEPT_SIZE + 1, 2)])
def test_how_often_the_protocol_is_asked(size: int, times: int) -> None:
    protocol = Counting()
    exchange = make_exchange(1, 2).exchange
    exchange.request["body"] = b"what came in"
    views = Views(cast(ProtocolSpec, protocol), exchange, size)
    for _ in range(2):
        assert views.identity == {"operation": "/"}
        assert views.request == {"seen": "what came in"}
        assert views.response == {"seen": "{}"}
    assert protocol.asked == {"identity": times, "view": 2 * times}
    assert views.request_intake.texts == ["what came in"]


def test_an_exchange_without_a_response_has_no_view_of_it() -> None:
    exchange = make_exchange(1, 2, problem="cut off").exchange
    views = Views(cast(ProtocolSpec, Counting()), exchange, 0)
    assert views.response is None
    assert views.response_intake.texts == []
