"""The commands that are known at once have the shape that all the rules would give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.redis import shapes
from kebpf.protocols.redis.catalogue import words

OPTIONS = words("WITHSCORES WITHSCORE INCR WITHVALUES WITHCOORD FULL GET EX 1 key STREAM DOCS")


@given(st.sampled_from(sorted(shapes._SAME)), st.lists(st.sampled_from(sorted(OPTIONS))))
def test_what_is_the_same_in_both_versions_is_so_by_all_rules(name: str, rest: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = shapes.shape_of([name, *rest])
        patch.setattr(shapes, "_SAME", frozenset())
        assert shapes.shape_of([name, *rest]) is found
