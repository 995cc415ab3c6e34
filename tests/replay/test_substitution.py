"""Replacing many values at once is the same as looking for each at every place."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording import times
from kebpf.replay.substitution import Substitution

SIZE = 12  # of each value
values = st.text("ab1-", min_size=SIZE, max_size=SIZE).filter(lambda text: text.strip("-") != "")
gaps = st.text("ab1- _", max_size=6)


def replace_each(known: dict[str, str], text: str) -> str:
    """From left to right; a value begins where nothing was replaced and ends with a word's end."""
    found, at = "", 0
    while at < len(text):
        old = text[at : at + SIZE]
        begin = re.search("[a-z0-9]", old)
        end = at + len(old)
        if (
            old in known
            and begin is not None
            and not (begin.start() == 0 and re.match("[a-z0-9]", text[at - 1 : at] or " "))
            and not (re.match("[a-z0-9]{2}", text[end - 1 : end + 1]))
        ):
            found, at = found + known[old], end
        else:
            found, at = found + text[at], at + 1
    return found


@given(st.lists(values, unique=True, max_size=4), st.data())
def test_values_are_replaced_wherever_they_stand(olds: list[str], data: st.DataObject) -> None:
    known = {old: f"<{number}>" for number, old in enumerate(olds)}
    substitution = Substitution()
    for old, new in known.items():
        substitution.add(old, new)
    pieces = st.lists(st.one_of(gaps, st.sampled_from(olds) if olds else gaps), max_size=6)
    text = " ".join(data.draw(pieces))
    assert substitution.apply(text) == replace_each(known, text)


@given(st.text("0123456789-/.: ,TZGMTMonSunJa+", max_size=9))
def test_no_time_is_shorter_than_the_shortest_value(text: str) -> None:
    assert re.search(times.SCAN_PATTERN, text) is None


def test_a_known_instant_is_written_anew_in_whatever_form_it_stands() -> None:
    substitution = Substitution()
    old = times.parse_time("2023-11-14T22:13:20.050001+00:00")
    assert old is not None
    substitution.add_instant(old, 1_760_000_000_251_003_000)
    text = 'at "2023-11-14T22:13:20.050001Z", not 2023-11-15'
    new = 'at "2025-10-09T08:53:20.251003Z", not 2023-11-15'
    assert substitution.apply(text) == new
