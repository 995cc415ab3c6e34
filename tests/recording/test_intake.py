"""What came in is read as it is and as it may have been written for another medium."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.intake import Intake
from kebpf.recording.times import Window
from kebpf.recording.values import find_texts, find_tokens, may_hold_tokens, text_of, walk_scalars

ID = "7d0c9e5a-3b1f-4c62-9a8e-51f2d6b4037c"
WINDOW = Window(1_795_000_000_000_000_000, 1_795_000_001_000_000_000)
pieces = st.sampled_from(
    [ID, "1795000000", "2026-11-22", "Qx7Zp0aB3kLm9TyWq2Rd", "a", " ", "é", "=="]
)
texts = st.lists(pieces, max_size=4).map("".join) | st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | texts | texts.map(str.encode) | st.floats()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def test_every_text_is_there_in_lower_case_and_ids_as_they_were_written() -> None:
    intake = Intake({"a": [ID.upper(), b"some bytes", 12_345_678_901], "b": "short", "c": None})
    assert intake.texts == [ID, "some bytes", "12345678901"]
    assert intake.telling == [ID.upper()]
    assert intake.size == sum(map(len, intake.texts))


def test_encoded_texts_are_read_too() -> None:
    basic = "Basic " + base64.b64encode(f"user:{ID}".encode()).decode()
    for text in (quote(f"é {ID}"), basic, f'{{\\"id\\": \\"{ID}\\"}}'):
        assert any(ID in form for form in Intake([text]).texts), text
        assert any(ID in form for form in Intake([text]).telling), text


@given(texts, st.none() | st.just(WINDOW))
def test_texts_that_hold_tokens_are_never_passed_over(text: str, window: Window | None) -> None:
    if find_tokens(text, window):
        assert may_hold_tokens(text)


@given(trees)
def test_all_texts_are_found_where_they_stand(tree: Any) -> None:
    found: list[tuple[str, str]] = []
    scalars = list(walk_scalars(tree))
    assert find_texts(tree, "", found) == len(scalars)
    read = [(path, text_of(scalar)) for path, scalar in scalars]
    assert found == [(path, text) for path, text in read if text and may_hold_tokens(text)]
