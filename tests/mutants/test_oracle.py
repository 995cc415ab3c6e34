from __future__ import annotations

import pytest

from tests.mutants.oracle import Oracle, Trace

ONE = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
TWO = "16763be4-6022-406e-a950-fcd5018633ca"
THREE = "0e37df36-f698-41e6-8dd4-81ed7b1c1f17"
BEGAN = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def make_trace(identifier: str, at: str = "2023-11-14T22:13:21.500000Z", *more: str) -> Trace:
    lines = ["200", f'{{"id": "{identifier}", "at": "{at}"}}', f"INSERT '{identifier}'", *more]
    return Trace(BEGAN, lines)


ORACLE = Oracle(make_trace(ONE), make_trace(TWO, "2023-11-14T22:13:21.600000Z"))


def test_a_new_identifier_everywhere_is_no_difference() -> None:
    assert ORACLE.find_difference(make_trace(THREE)) is None


@pytest.mark.parametrize(
    "lines",
    [
        ["201", f'{{"id": "{THREE}", "at": "2023-11-14T22:13:21.5Z"}}', f"INSERT '{THREE}'"],
        ["200", f'{{"id": "{THREE}", "at": "2023-11-14T22:13:21.5Z"}}', f"INSERT '{TWO}'"],
        ["200", f'{{"id": "{THREE}", "at": "2023-11-14T23:13:21.5Z"}}', f"INSERT '{THREE}'"],
        ["200", f'{{"id": "{THREE}", "at": "2023-11-14T22:13:21Z"}}', f"INSERT '{THREE}'"],
        ["200", f'{{"ids": "{THREE}", "at": "2023-11-14T22:13:21.5Z"}}', f"INSERT '{THREE}'"],
        ["200", '{"id": "none", "at": "2023-11-14T22:13:21.5Z"}', "INSERT 'none'"],
        ["200", f'{{"id": "{THREE}", "at": "2023-11-14T22:13:21.5Z"}}'],
        ["200", f'{{"id": "{THREE}", "at": "2023-11-14T22:13:21.5Z"}}', f"INSERT '{THREE}'", "GET"],
    ],
    ids=["status", "two ids", "time", "fraction", "key", "class", "lost call", "extra call"],
)
def test_differences_are_seen(lines: list[str]) -> None:
    assert ORACLE.find_difference(Trace(BEGAN, lines)) is not None


def test_a_time_is_one_however_it_is_written() -> None:
    """The answer's and the statement's."""

    def make(first: str, second: str) -> Trace:
        return Trace(BEGAN, [f"2023-11-14T22:13:{first}Z", f"'2023-11-14 22:13:{second}+00'"])

    oracle = Oracle(make("21.500001", "21.500001"), make("21.600001", "21.600001"))
    assert oracle.find_difference(make("21.700001", "21.700001")) is None
    assert oracle.find_difference(make("21.700001", "21.700002")) is not None


def test_a_value_that_is_no_longer_new_is_seen() -> None:
    assert ORACLE.find_frozen(make_trace(ONE), make_trace(THREE, "2023-11-14T22:13:22.1Z")) is None
    assert ORACLE.find_frozen(make_trace(ONE), make_trace(ONE)) is not None


def test_originals_that_differ_in_shape_are_no_oracle() -> None:
    with pytest.raises(ValueError, match="differ"):
        Oracle(make_trace(ONE), make_trace(TWO, "2023-11-14T22:13:21.6Z", "GET"))
