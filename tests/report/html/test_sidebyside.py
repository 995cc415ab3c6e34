"""Two messages beside each other: which lines are paired and what they are called."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kebpf.replay.events import Mismatch
from kebpf.report.html.sidebyside import (
    MOST_LINES,
    Row,
    align,
    find_first_line,
    list_lines,
    mark_difference,
    show_beside,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def rows_of(expected: Any, actual: Any, *paths: str) -> list[Row]:
    return align(list_lines(expected), list_lines(actual), paths)


def test_a_changed_value_is_one_row_of_many() -> None:
    old, new = {"status": 200, "body": {"a": 1, "b": 2}}, {"status": 200, "body": {"a": 1, "b": 3}}
    assert rows_of(old, new, "/body/b") == [
        Row("same", "status: 200", "status: 200"),
        Row("same", "{", "{"),
        Row("same", '  "a": 1,', '  "a": 1,'),
        Row("changed", '  "b": 2', '  "b": 3'),
        Row("same", "}", "}"),
    ]


def test_what_the_comparison_accepted_is_no_difference() -> None:
    old = {"headers": [["date", "Mon"], ["x", "1"]], "body": {"id": "a"}}
    new = {"headers": [["date", "Tue"], ["x", "2"]], "body": {"id": "b"}}
    kinds = [(row.kind, row.left) for row in rows_of(old, new, "/headers/x")]
    assert kinds[:2] == [("alike", "date: Mon"), ("changed", "x: 1")]
    assert ("alike", '  "id": "a"') in kinds


def test_what_only_one_side_has_stands_alone() -> None:
    old, new = {"body": {"a": 1, "b": 2}}, {"body": {"a": 1}}
    assert Row("missing", '  "b": 2', None) in rows_of(old, new, "/body/b")
    assert Row("extra", None, '  "b": 2') in rows_of(new, old, "/body/b")


def test_repeated_headers_are_told_apart_by_their_number() -> None:
    old = {"headers": [["set-cookie", "a"], ["set-cookie", "b"]]}
    new = {"headers": [["set-cookie", "a"], ["set-cookie", "c"]]}
    assert [row.kind for row in rows_of(old, new, "/headers/set-cookie/1")] == ["same", "changed"]


def test_lines_of_a_text_are_compared_as_text() -> None:
    rows = rows_of({"body": "a\nb\nc"}, {"body": "a\nx\nb\nc"}, "/body/line/2")
    assert [row.kind for row in rows] == ["same", "extra", "same", "same"]


def test_bytes_are_shown_in_hex() -> None:
    [row] = rows_of({"body": b"\x89PNG"}, {"body": b"\x89PNH"}, "/body/offset/3")
    assert row.kind == "changed"
    assert (row.left or "").split() == ["000000", "89", "50", "4e", "47", ".PNG"]


def test_a_late_difference_is_what_is_shown() -> None:
    text = "\n".join(f"line {n}" for n in range(1, 5001))
    first = find_first_line(["/body/line/4000"])
    lines = list_lines({"body": text}, first)
    assert len(lines) <= MOST_LINES + 1
    assert "line 4000" in [line.text for line in lines]
    assert find_first_line(["/body/offset/1600"]) == 60
    shown = show_beside(
        {"body": text},
        {"body": text.replace("line 4000", "line x")},
        [Mismatch("/body/line/4000", "changed")],
    )
    assert "4000" in shown
    assert len(shown) < 100_000


@given(JSON, JSON)
def test_every_line_is_there_once_and_in_order(old: Any, new: Any) -> None:
    rows = rows_of({"body": old}, {"body": new}, "/body")
    left = [row.left for row in rows if row.left is not None]
    assert left == [line.text for line in list_lines({"body": old})]
    right = [row.right for row in rows if row.right is not None]
    assert right == [line.text for line in list_lines({"body": new})]


@given(JSON)
def test_the_lines_of_a_body_are_its_json(body: Any) -> None:
    lines = list_lines({"body": {"inside": body}})
    if len(lines) <= MOST_LINES:
        assert json.loads("\n".join(line.text for line in lines)) == {"inside": body}


def test_only_the_differing_middle_is_marked() -> None:
    assert mark_difference("a<1>c", "a<2>c") == (
        "a&lt;<mark>1</mark>&gt;c",
        "a&lt;<mark>2</mark>&gt;c",
    )
    assert mark_difference("aa", "a") == ("a<mark>a</mark>", "a")


def test_equal_lines_far_from_a_difference_are_folded() -> None:
    old = {"body": [*range(40)]}
    new = {"body": [*range(39), 99]}
    shown = show_beside(old, new, [Mismatch("/body/39", "changed", 39, 99)])
    assert "<summary>37 lines as recorded</summary>" in shown
