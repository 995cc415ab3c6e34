"""What stands for a text: of its shape, another for each, the same each time."""

from __future__ import annotations

import itertools
import string
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.redaction.permutation import MOST_PERMUTED, Permutation

ONE = Permutation(b"one key")
TEXTS = st.text(max_size=80)


def shape_of(text: str) -> list[str]:
    """Digits, letters of both cases, each other character itself."""
    kinds = {"Nd": "0", "Ll": "a", "Lu": "A"}
    return [
        kinds[unicodedata.category(one)] if one in string.digits + string.ascii_letters else one
        for one in text
    ]


@given(st.text(alphabet=string.printable, max_size=80))
def test_the_shape_stays(text: str) -> None:
    changed = ONE.permute(text)
    if set(text.lower()) <= set(string.hexdigits + "-") and len(text) > 5:
        assert set(changed.lower()) <= set(string.hexdigits + "-") and len(changed) == len(text)
    else:
        assert shape_of(changed) == shape_of(text)


@given(TEXTS)
def test_its_size_in_utf8_stays_for_letters_of_two_and_three_bytes(text: str) -> None:
    letters = "".join(one for one in text if one.isalpha() and one < "\U00010000")
    plain = "".join(one for one in letters if len(one.upper()) == len(one.lower()) == 1)
    assert len(ONE.permute(plain)) == len(plain)
    assert all(one.isalpha() for one in ONE.permute(plain))


def test_all_texts_of_a_small_shape_become_all_of_them() -> None:
    for shape in itertools.product("0a", repeat=3):
        alphabets = [string.digits if one == "0" else string.ascii_lowercase for one in shape]
        texts = ["".join(text) for text in itertools.product(*alphabets)]
        assert sorted(map(ONE.permute, texts)) == sorted(texts)


@given(TEXTS)
def test_it_is_the_same_each_time_and_another_with_another_key(text: str) -> None:
    assert ONE.permute(text) == Permutation(b"one key").permute(text)
    if sum(one.isascii() and one.isalnum() for one in text) > 15:
        assert (
            len({ONE.permute(text), ONE.permute(text, "x"), Permutation(b"2").permute(text)}) == 3
        )
        assert ONE.permute(text) != text


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=8, max_size=60))
def test_a_program_that_changes_the_case_meets_what_it_expects(text: str) -> None:
    assert ONE.permute(text.lower()) == ONE.permute(text).lower() or set(text.lower()) <= set(
        string.hexdigits + "-"
    )


def test_places_that_are_to_be_kept_stay() -> None:
    text = "4111 1111 1111 1111"
    changed = ONE.permute(text, keep=frozenset((0, 1, 2, 3)))
    assert changed[:5] == text[:5] and changed != text


def test_a_long_text_is_changed_throughout() -> None:
    text = "abcDEF123-" * MOST_PERMUTED
    changed = ONE.permute(text)
    assert shape_of(changed) == shape_of(text)
    pieces = {changed[at : at + 10] for at in range(0, len(changed), 10)}
    assert len(pieces) > MOST_PERMUTED * 0.9


def test_what_is_hexadecimal_stays_so() -> None:
    for text in ("0f1e2d3c4b5a6978", "0F1E2D3C4B5A6978", "550e8400-e29b-41d4-a716-446655440000"):
        changed = ONE.permute(text)
        int(changed.replace("-", ""), 16)
        assert changed.isupper() == text.isupper() and changed != text
