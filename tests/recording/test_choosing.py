from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.choosing import Column, choose_class, choose_strict_class
from kebpf.recording.templates import matches_class
from kebpf.recording.times import Window

WORDS = st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=8, unique=True)


def choose(*values: str, pool: Sequence[str] = ()) -> str | None:
    return choose_class(Column(values, [None] * len(values), pool))


@pytest.mark.parametrize(
    ("values", "class_name"),
    [
        (("17", "3", "250"), "integer:1-4"),
        (("17", "-3"), "signed:1-3"),
        (("0.25", "3"), "decimal:1-2"),
        (("1234", "5678", "9999", "1000", "4321", "2222", "3333", "8765"), "integer:4"),
        (("007", "031"), "text:digits:3"),
        (("a1b2c3d4", "99ffee00"), "hex:8"),
        (("k7f2m9q4x", "p3d8w1z5v"), "base64url:9"),
        (("order-17", "order-18"), "text:word:8"),
        (("red", "blue"), "text:alnum:1-8"),
        (("violet", "turquoise"), "text:lower:1-18"),
        (("abcdefgh", "stuvwxyz"), "text:lower:8"),
        (("ZB12X", "CD34Y"), "text:uppernum:5"),
        (("BEEF", "CA1E"), "text:HEX:4"),
        (("two words", "and three more"), "text:ascii:1-28"),
        (("", "x"), "text:alnum:0-2"),
    ],
)
def test_the_strongest_class_that_holds_all(values: tuple[str, ...], class_name: str) -> None:
    assert choose(*values) == class_name


def test_identifiers_are_known_as_in_a_recording() -> None:
    ids = [str(uuid.UUID(int=random.Random(n).getrandbits(128), version=4)) for n in range(3)]
    assert choose(*ids) == "uuid4"
    assert choose(*(one.replace("-", "") for one in ids)) == "hex:32"


def test_a_time_has_to_be_fresh_in_each_run() -> None:
    windows = [Window(n * 10**12, n * 10**12 + 10**9) for n in (1, 2)]
    column = Column(["01.01.1970 00:16:40", "01.01.1970 00:33:20"], windows)
    assert choose_class(column) == "time:%d.%m.%Y %H:%M:%S"
    stale = Column(["01.01.1970 00:16:40", "01.01.1970 00:16:41"], windows)
    assert choose_class(stale) == "text:ascii:19"


def test_literals_are_only_enough_when_no_other_is_likely() -> None:
    assert choose("red", "blue", pool=["red", "blue"] * 4) == "one-of:blue|red"
    assert choose("red", "blue", pool=["red"] * 9 + ["blue"]) == "text:alnum:1-8"
    assert choose("red", "blue", pool=["red", "blue", "red"]) == "text:alnum:1-8"


def test_words_that_mean_something_are_no_free_text() -> None:
    assert choose_strict_class(Column(["GET", "SET"], [None, None])) is None
    assert choose_strict_class(Column(["12", "7"], [None, None])) == "integer:1-3"


@given(WORDS)
def test_a_class_holds_all_seen_and_not_what_is_much_longer(values: list[str]) -> None:
    name = choose(*values)
    assert name is not None
    assert all(matches_class(value, name, None) for value in values)
    assert not matches_class(max(values, key=len) * 2 + "0", name, None)


@given(st.lists(st.integers(), min_size=2, max_size=8, unique=True))
def test_a_class_of_numbers_refuses_words_and_many_more_digits(values: list[int]) -> None:
    name = choose(*map(str, values))
    assert name is not None
    assert all(matches_class(str(value), name, None) for value in values)
    longest = max(len(str(abs(value))) for value in values)
    assert not any(matches_class(text, name, None) for text in ("x", "", "1" * (longest + 2)))


@given(st.data())
def test_a_program_that_draws_among_few_is_known_by_its_literals(data: st.DataObject) -> None:
    """The oracle is the program: the class accepts nothing it does not draw."""
    literals = data.draw(
        st.lists(st.text(min_size=1, max_size=9), min_size=2, max_size=4, unique=True)
    )
    drawn = literals * 4
    name = choose(*literals, pool=drawn)
    assert name is not None
    assert all(matches_class(one, name, None) for one in literals)
    if name.startswith("one-of:"):
        other = data.draw(st.text(max_size=9).filter(lambda text: text not in literals))
        assert not matches_class(other, name, None)
