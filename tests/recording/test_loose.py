from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.loose import (
    is_loose_class,
    loose_pattern,
    name_one_of,
    read_one_of,
    takes_any_number,
)


def holds(class_name: str, text: str) -> bool:
    return re.fullmatch(loose_pattern(class_name), text, re.ASCII | re.DOTALL) is not None


@pytest.mark.parametrize(
    ("class_name", "good", "bad"),
    [
        ("integer:1-3", ["0", "12", "999"], ["1000", "-1", "1.5", "x", ""]),
        ("signed:2", ["-12", "12"], ["1", "-1", "123"]),
        ("decimal:1-2", ["0.25", "12", "-3.5", "1.5e-07"], ["123.4", ".5", "a", "1."]),
        ("text:hex:8", ["00ffaa99"], ["00ffaa9", "00FFAA99", "00ffaa999"]),
        ("text:lower:1-4", ["a", "abcd"], ["", "abcde", "A", "a1"]),
        ("one-of:blue|red", ["blue", "red"], ["green", "bluered", "blue|red", ""]),
        ("number", ["1", "-2.5"], ["x", ""]),
        ("boolean", ["True", "False"], ["true", "1"]),
        ("string", ["", "a\nb"], []),
    ],
)
def test_what_a_class_holds(class_name: str, good: list[str], bad: list[str]) -> None:
    assert is_loose_class(class_name)
    assert [text for text in good if not holds(class_name, text)] == []
    assert [text for text in bad if holds(class_name, text)] == []


@given(st.sets(st.text(), min_size=1, max_size=8))
def test_one_of_holds_its_literals_whatever_they_are(literals: set[str]) -> None:
    name = name_one_of(literals)
    assert set(read_one_of(name)) == literals
    assert not set(name) & set("{}")  # a template could not hold those
    assert all(holds(name, literal) for literal in literals)
    assert not holds(name, "".join(literals) + "!")


@pytest.mark.parametrize("name", ["text:odd:3", "text:lower", "integer:x", "other:1"])
def test_an_unknown_class_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="unknown value class"):
        loose_pattern(name)


def test_numbers_of_either_type() -> None:
    assert takes_any_number("{decimal:1-3}")
    assert not takes_any_number("{integer:1-3}")
