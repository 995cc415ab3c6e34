"""What is wrong with an exchange, in words."""

from __future__ import annotations

from kebpf.protocols.base import Mark
from kebpf.protocols.http1.parser import Message
from kebpf.protocols.http1.turns import Turn, describe_loss, describe_message_loss, make_interim


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
