"""Lines of a report."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.report.lines import Line, Tone, count, fill, indent, join_text

PARTS = st.lists(st.text("abc ", min_size=1, max_size=12))


def test_counts_agree_with_their_noun() -> None:
    assert count(1, "mock") == "1 mock"
    assert count(0, "mock") == "0 mocks"
    assert count(1200, "query", "queries") == "1,200 queries"


def test_indenting_keeps_the_tone_and_leaves_empty_lines_empty() -> None:
    lines = indent([Line("a", Tone.BAD), Line("")], 2)
    assert lines == [Line("    a", Tone.BAD), Line("")]
    assert join_text(lines) == "    a\n"


@given(PARTS, st.integers(12, 60))
def test_filling_loses_nothing_and_fits(parts: list[str], width: int) -> None:
    lines = fill(parts, width, ", ")
    assert ", ".join(lines) == ", ".join(parts)
    assert all(len(line) <= width for line in lines)
