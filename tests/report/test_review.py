"""A difference as a person who decides sees it."""

from __future__ import annotations

from kebpf.replay.events import Mismatch
from kebpf.replay.review import Item
from kebpf.report.lines import join_text
from kebpf.report.review import show_decision, show_item, title_item
from tests.report.builders import make_extra_call


def test_a_difference_of_a_response() -> None:
    item = Item("get-orders-1a2b", "GET http://h/orders", [Mismatch("/body/n", "changed", 1, 2)])
    assert join_text(show_item(item, 2, 9)) == (
        "\n(2 of 9) get-orders-1a2b  GET /orders\n  /body/n: recorded 1, came 2"
    )
    assert title_item(item) == "/body/n changed: recorded 1, came 2"


def test_a_call_that_cannot_be_accepted() -> None:
    item = Item("one", "GET /", finding=make_extra_call(), problem="no answer: record anew")
    text = join_text(show_item(item, 1, 1))
    assert "  extra call: SELECT id, total FROM orders" in text
    assert text.endswith("\n  cannot be accepted: no answer: record anew")


def test_no_line_is_wider_than_a_terminal() -> None:
    item = Item("x" * 99, "GET /" + "y" * 99, [Mismatch("/a", "changed", "b" * 99, "c" * 99)])
    item.note = item.problem = "word " * 40
    assert max(len(line.text) for line in show_item(item, 1, 1)) <= 80
    assert len(show_decision("accepted", item).text) <= 80
