"""Sizes grow with what is held, and what a test set cannot hold is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.recording.measure import MAX_DEPTH, measure_document


def nest(depth: int, inner: Any) -> Any:
    for number in range(depth):
        inner = {"k": inner} if number % 2 else [inner]
    return inner


@pytest.mark.parametrize(
    ("tree", "size"),
    [
        (None, 60),
        (True, 60),
        ("é", 62),
        (b"\xff\xff", 62),
        ([], 60),
        (["abc", "é", 1], 60 + 63 + 62 + 60),
        ({"key": b"value"}, 60 + 63 + 65),
    ],
)
def test_what_values_count(tree: Any, size: int) -> None:
    assert measure_document(tree) == size


@pytest.mark.parametrize("inner", ["text", 1, [], {"é": "é"}])
def test_depth_has_an_end(inner: Any) -> None:
    below = isinstance(inner, dict)
    measure_document(nest(MAX_DEPTH - below, inner))
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        measure_document(nest(MAX_DEPTH + 1 - below, inner))


@pytest.mark.parametrize("tree", [(1, 2), {"k": {1, 2}}, [object()], {1: "\ud800"}, ["\ud800"]])
def test_what_cannot_be_held_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match="holds"):
        measure_document(tree)
