"""Identity, description and view, as whole values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document
from kebpf.protocols.redis import REDIS
from kebpf.protocols.redis.documents import view_text


def bulk(value: Any) -> Document:
    return {"type": "bulk", "value": value}


def test_identity() -> None:
    request = {"command": ["set", "k", b"\xff"], "db": 2}
    assert REDIS.identity(request) == {"operation": "SET", "db": 2, "arguments": ["k", b"\xff"]}
    assert REDIS.identity({"command": ["PING"], "db": 2})["db"] == 0


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"command": ["set", "rate:EUR", "1.2", "EX", "60"]}, "SET rate:EUR 1.2 EX 60"),
        ({"command": ["SET", "k", "a b\n"]}, 'SET k "a b\\n"'),
        ({"command": ["SET", "k", b"\xff"]}, 'SET k "\\\\xff"'),
        ({"command": ["EXEC"], "queued": [["INCR", "n"]]}, "MULTI; INCR n; EXEC"),
        ({"command": ["SET", "k", "v" * 200]}, "SET k " + "v" * 93 + "…"),
    ],
)
def test_describe(request_: Document, text: str) -> None:
    assert REDIS.describe(request_) == text


def test_view_of_replies() -> None:
    tree = {
        "type": "map",
        "items": [bulk("a"), {"type": "double", "value": "1.5"}, bulk("b"), {"type": "null"}],
    }
    assert REDIS.view({"reply": tree}) == {"a": 1.5, "b": None}
    assert REDIS.view({"reply": {"type": "error", "value": "ERR x"}}) == {"error": "ERR x"}
    assert REDIS.view({"reply": {"type": "set", "items": [bulk("x")]}}) == ["x"]
    assert REDIS.view({"replies": []}) == []
    assert REDIS.view({"command": ["SET", "k", '{"a":1}']}) == {"command": ["SET", "k", {"a": 1}]}


@pytest.mark.parametrize(
    "text",
    ['{"a": 1,"b":2}', '{"a":1,"a":2}', '{"a":1.50}', '{"a":NaN}', "[1]", "12", '{"a":"\\ud800"}'],
)
def test_text_that_json_would_not_give_back_stays_text(text: str) -> None:
    assert view_text(text) == text


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4))
def test_json_objects_are_decoded(value: dict[str, int]) -> None:
    text = json.dumps(value)
    assert view_text(text) in (value, text)
    assert ("\\ud" in text.lower()) or view_text(text) == value


def test_a_setting_that_is_read_is_another_operation_than_one_that_is_set() -> None:
    for words, operation in ((["config", "get", "save"], "CONFIG GET"), (["CONFIG"], "CONFIG ")):
        identity = REDIS.identity({"command": words})
        assert (identity["operation"], identity["arguments"]) == (operation, words[1:])
