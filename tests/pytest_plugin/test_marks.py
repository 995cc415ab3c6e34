"""What a mark may say, and the sentence for what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.pytest_plugin.marks import MarkError, Wanted, make_wanted


def test_what_a_mark_says() -> None:
    assert make_wanted(["shop"], {}) == Wanted(("shop",))
    wanted = make_wanted(["shop", "till"], {"cases": ["get-*"], "misses": "report"})
    assert wanted == Wanted(("shop", "till"), ("get-*",), misses="report")
    assert wanted.tolerates_misses
    assert str(wanted) == "shop, till (cases: get-*)"
    assert make_wanted(["shop"], {"cases": "get-*", "unused": "error"}).cases == ("get-*",)


@pytest.mark.parametrize(
    ("sets", "options", "sentence"),
    [
        ([], {}, "names test sets"),
        ([1], {}, "names test sets"),
        (["shop"], {"case": "a"}, "no option case"),
        (["shop"], {"cases": 1}, "a name, a glob, or a list"),
        (["shop"], {"cases": [None]}, "a name, a glob, or a list"),
        (["shop"], {"misses": "ignore"}, "misses of kebpf's mark is 'error' or 'report'"),
        (["shop"], {"unused": True}, "unused of kebpf's mark is 'report' or 'error'"),
    ],
)
def test_what_makes_no_sense(sets: list[Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MarkError, match=sentence.replace("*", r"\*")):
        make_wanted(sets, options)
