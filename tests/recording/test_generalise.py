from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.generalise import Seen, generalise
from kebpf.recording.templates import match_template
from kebpf.recording.times import Window
from kebpf.replay.binding import pair_tokens

TEXTS = st.lists(st.text(max_size=60), min_size=2, max_size=6, unique=True)
ALPHABET = "ab1 -:,.\n"


def find(*values: Any, template: str | None = None, is_strict: bool = False) -> str | None:
    windows: Sequence[Window | None] = [None] * len(values)
    return generalise(Seen(values, windows, (), template, is_strict))


@pytest.mark.parametrize(
    ("values", "template"),
    [
        ((1, 40, 7), "{integer:1-3}"),
        ((0.5, 12.25), "{decimal:1-3}"),
        ((3, 0.5), "{decimal:1-2}"),
        ((True, False), "{boolean}"),
        (("took 3 ms", "took 17 ms"), "took {integer:1-3} ms"),
        (("took 0.31 ms", "took 1.5 ms"), "took {decimal:1-2} ms"),
        (("a: b, {3}", "a: b, {14}"), "a: b, {{{integer:1-3}}}"),
        (("hello ann", "hello mary ann"), "hello {text:ascii:0-10}ann"),
        (("x", 1), None),
        (("x", None), None),
        ((b"\xff", b"\xfe"), "{text:line:1}"),
        ((b"lot 3", b"lot 40"), "lot {integer:1-3}"),
    ],
)
def test_the_skeleton_stays_and_what_varies_has_a_class(
    values: tuple[Any, ...], template: str | None
) -> None:
    assert find(*values) == template


def test_what_was_generated_before_stays_so() -> None:
    texts = [f"job {uuid.uuid4()} of {n}" for n in (3, 14, 159)]
    before = "job {uuid4} of 3"
    assert find(*texts, template=before) == "job {uuid4} of {integer:1-4}"
    assert find(*texts, template="job {uuid4} of {integer:1-2}") == "job {uuid4} of {integer:1-4}"


def test_a_time_inside_a_text_is_one_piece() -> None:
    moments = [datetime(2026, 11, 22, hour, 59, hour, tzinfo=UTC) for hour in (3, 14, 21)]
    windows = [Window(int(m.timestamp()) * 10**9, int(m.timestamp()) * 10**9) for m in moments]
    texts = [moment.strftime("made %d/%b/%Y %H:%M:%S, done") for moment in moments]
    assert generalise(Seen(texts, windows)) == "made {clock:%d/%b/%Y %H:%M:%S}, done"


def test_where_words_mean_something_only_numbers_and_ids_vary() -> None:
    sql = "SELECT * FROM {} WHERE id = {}"
    assert find(sql.format("a", 1), sql.format("a", 22), is_strict=True) == (
        "SELECT * FROM a WHERE id = {integer:1-3}"
    )
    assert find(sql.format("a", 1), sql.format("b", 1), is_strict=True) is None


@given(TEXTS)
def test_a_template_matches_all_that_was_seen_and_no_other_type(values: list[str]) -> None:
    template = find(*values)
    assert template is not None
    assert all(match_template(template, value) is not None for value in values)
    assert all(pair_tokens(template, values[0], value) is not None for value in values)
    assert pair_tokens(template, values[0], 1) is None
    assert pair_tokens(template, values[0], None) is None


@given(
    st.text(ALPHABET, max_size=20),
    st.text(ALPHABET, max_size=20),
    st.lists(st.integers(0, 10**6), min_size=2, max_size=5, unique=True),
)
def test_what_is_written_around_a_number_is_asserted(
    head: str, tail: str, numbers: list[int]
) -> None:
    """The oracle is the program that writes the texts."""
    texts = [f"{head}#{number}#{tail}" for number in numbers]
    template = find(*texts)
    assert template is not None
    assert match_template(template, texts[0]) is not None
    assert match_template(template, f"X{texts[0]}") is None
    assert match_template(template, f"{head}#no number at all#{tail}") is None
