"""Messages between supervisor and recorder processes."""

from __future__ import annotations

import pytest

from kebpf.agent.link import LinkClosedError, Message, make_links


def test_messages_come_whole_and_in_order() -> None:
    ours, theirs = make_links()
    messages: list[Message] = [{"a": 1}, {"text": "x" * 100_000}, {"b": [1, 2]}]
    for message in messages[::2]:
        ours.send(message)
    assert theirs.receive() == messages[::2]
    assert theirs.receive() == []
    ours.send(messages[1])
    assert theirs.receive(None) == [messages[1]]
    ours.close()
    theirs.close()


def test_an_end_is_an_error_behind_what_came_before() -> None:
    ours, theirs = make_links()
    ours.send({"last": True})
    ours.close()
    assert theirs.receive() == [{"last": True}]
    with pytest.raises(LinkClosedError):
        theirs.receive(None)
    with pytest.raises(LinkClosedError):
        theirs.send({"too": "late"})
    theirs.close()
    theirs.close()
