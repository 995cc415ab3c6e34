from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.applications import NAMES
from tests.mutants.campaign import Fate, Outcome
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.results import (
    UNEXPLAINED,
    UNNOTICED,
    Survivors,
    find_unexplained,
    rate,
    read_survivors,
    write_page,
)


def make_outcome(number: int, fate: Fate, why: str = "") -> Outcome:
    edit = Edit("number", 0, 1, b"2", range(1, 2))
    return Outcome(
        Mutant(f"shop:a.py:{number}:number#1", "a.py", edit, "a = 1", "a = 2"), fate, why
    )


OUTCOMES = [
    make_outcome(1, Fate.CAUGHT),
    make_outcome(2, Fate.NOT_STARTED),
    make_outcome(3, Fate.EQUIVALENT),
    make_outcome(4, Fate.ESCAPED, "200 became 201"),
    make_outcome(5, Fate.NOT_REACHED),
]


def test_a_survivor_without_a_reason_is_unexplained() -> None:
    nothing = Survivors({})
    assert [one.fate for one in find_unexplained(OUTCOMES, nothing)] == [Fate.ESCAPED]
    assert nothing.explain(OUTCOMES[2]) == UNNOTICED
    assert not find_unexplained(OUTCOMES, Survivors({"shop:a.py:4:number#1": "a bug, known"}))


def test_a_reason_for_a_caught_mutant_is_stale() -> None:
    survivors = Survivors({"shop:a.py:1:number#1": "", "shop:a.py:3:number#1": ""})
    assert survivors.find_stale(OUTCOMES) == ["shop:a.py:1:number#1"]


def test_the_page_counts_and_lists() -> None:
    page = write_page(OUTCOMES, Survivors({"shop:a.py:3:number#1": "nobody asks"}), ["a note"])
    assert "| shop | 4 | 1 | 1 | 1 | 1 | 66.6 % |" in page
    assert "| number | 4 | 1 | 1 | 1 | 1 | 66.6 % |" in page
    survivors = page.partition("## Survivors")[2]
    assert (
        "`shop:a.py:3:number#1` equivalent\n  - ``a = 1`` → ``a = 2``\n  - nobody asks" in survivors
    )
    assert f"{UNEXPLAINED}\n  - the oracle: ``200 became 201``" in survivors
    assert "shop:a.py:1" not in page
    assert "a note" in page


@pytest.mark.parametrize(
    ("caught", "escaped", "shown"), [(0, 0, "–"), (1999, 1, "99.9 %"), (3, 0, "100.0 %")]
)
def test_a_rate_is_not_rounded_up(caught: int, escaped: int, shown: str) -> None:
    assert rate(caught, escaped) == shown


def test_a_mutant_has_one_reason(tmp_path: Path) -> None:
    path = tmp_path / "survivors.toml"
    group = '[[survivor]]\nreason = "none"\nmutants = ["a"]\n'
    path.write_text(group)
    assert read_survivors(path).reasons == {"a": "none"}
    path.write_text(group * 2)
    with pytest.raises(ValueError, match="two reasons"):
        read_survivors(path)


def test_the_reasons_kept_are_of_applications_there_are() -> None:
    assert {name.partition(":")[0] for name in read_survivors().reasons} <= set(NAMES)
