"""Outlines are the same for what differs in values only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.recording.dedup.outline import draw_outline, list_fields, write_outline

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=12,
)


def outline(tree: Any) -> str:
    return write_outline(draw_outline(tree))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": "x"}, {"b": "y", "a": 2.5}),
        ([1, 2], [7, 8, 9]),
        ([{"a": 1}, {"a": None}], [{"a": None}, {"a": 2}, {"a": 3}]),
        ([{"a": 1}, {"b": 1}], [{"b": 2, "a": 3}, {"a": 3, "b": 1}]),
        ({"17": {"n": 1}, "18": {"n": 2}}, {"4": {"n": 1}, "5": {"n": 3}, "6": {"n": 3}}),
        ({"2024-01-01": 1, "2024-01-02": 5}, {"2023-01-01": 1, "2023-01-02": 5}),
        ([{"l": [1]}, {"l": [1, 2]}], [{"l": [1, 2]}, {"l": []}]),
    ],
)
def test_the_same_shape(one: Any, other: Any) -> None:
    assert outline(one) == outline(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": None}),
        ({"a": True}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ([], [1]),
        ([1], [1, 1]),
        ([{"a": 1}], [{"b": 1}]),
        ({}, []),
        ({"a": {"b": 1}}, {"a": {"c": 1}}),
        ({"a:b": 1}, {"a": {"b": 1}}),
    ],
)
def test_another_shape(one: Any, other: Any) -> None:
    assert outline(one) != outline(other)


@settings(max_examples=50)
@given(TREES)
def test_whatever_the_order_of_fields_and_elements(tree: Any) -> None:
    def turned(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: turned(one[key]) for key in reversed(list(one))}
        return [turned(each) for each in reversed(one)] if isinstance(one, list) else one

    assert outline(tree) == outline(turned(tree))


def test_fields_that_may_be_of_few_values() -> None:
    tree = {"a": "x", "b": {"c": 3, "d": 1.5}, "l": [{"kind": "y"}], "m": {"17": "z"}, "t": True}
    assert dict(list_fields(tree, "200")) == {"200/a": "x", "200/b/c": "3", "200/t": "True"}


def test_a_long_text_is_told_from_others_by_its_beginning_and_length() -> None:
    ((_, one),) = list_fields("a" * 1000, "")
    ((_, other),) = list_fields("a" * 1001, "")
    assert one != other and len(one) < 100


def test_a_deep_tree_ends_somewhere() -> None:
    tree: Any = 1
    for _ in range(90):
        tree = {"a": [tree, tree]}
    assert len(outline(tree)) < 1000
