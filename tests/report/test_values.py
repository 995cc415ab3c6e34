"""Values as people and JSON read them."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kebpf.report.values import cut, cut_pair, escape_controls, pretty, show_value, to_json

DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_every_document_becomes_strict_json(value: Any) -> None:
    json.loads(json.dumps(to_json(value), allow_nan=False))


@given(st.binary())
def test_bytes_can_be_had_back(value: bytes) -> None:
    shown = to_json(value)
    back = shown.encode() if isinstance(shown, str) else base64.b64decode(shown["base64"])
    assert back == value


@given(DOCUMENTS)
def test_shown_values_are_one_line_that_commands_nothing(value: Any) -> None:
    assert show_value(value).isprintable()
    assert all(line.isprintable() for line in pretty(value).split("\n"))


@given(st.text(max_size=300), st.text(max_size=300), st.integers(12, 90))
def test_cut_pairs_fit_and_still_differ(left: str, right: str, width: int) -> None:
    one, other = cut_pair(left, right, width)
    assert max(len(one), len(other)) <= width
    assert (one == other) == (left == right)


def test_cut_pair_shows_the_first_difference() -> None:
    left, right = cut_pair("a" * 100 + "1" + "c" * 100, "a" * 100 + "2" + "c" * 100, 30)
    assert left == "…aaaaaaaaaa1ccccccccccccccccc…"
    assert right == "…aaaaaaaaaa2ccccccccccccccccc…"


def test_bytes_that_are_no_text_are_shown_in_hex() -> None:
    assert show_value(b"\x00\xff") == "2 bytes 00 ff"
    assert show_value(b"text") == '"text"'


def test_escapes_are_those_of_python() -> None:
    assert escape_controls("a\x1b\u202e\u00a0\nb") == "a\\x1b\\u202e\\xa0\nb"


def test_cut_keeps_what_fits() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
