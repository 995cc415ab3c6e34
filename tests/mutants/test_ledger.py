from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.mutants.campaign import Fate, Outcome
from tests.mutants.ledger import Ledger
from tests.mutants.mutant import Edit, Mutant

MUTANT = Mutant("shop:a.py:3:number#1", "a.py", Edit("number", 0, 1, b"2", range(1)), "1", "2")


def test_an_ended_run_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    first = Ledger(path)
    first.note(Outcome(MUTANT, Fate.ESCAPED, "“200” became 201", "GET /: changed"))
    first.note_unmutated("shop", "")
    first.note_unmutated("shop", "GET /: changed")
    again = Ledger(path)
    assert again.find(MUTANT) == Outcome(MUTANT, Fate.ESCAPED, "“200” became 201", "GET /: changed")
    assert again.find(replace(MUTANT, after="3")) is None
    assert again.count_unmutated("shop") == (2, 1)


def test_the_last_outcome_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "outcomes.jsonl")
    ledger.note(Outcome(MUTANT, Fate.ESCAPED))
    ledger.note(Outcome(MUTANT, Fate.CAUGHT))
    found = ledger.find(MUTANT)
    assert found is not None
    assert found.fate is Fate.CAUGHT


def test_a_page_can_be_written_of_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    ledger = Ledger(path)
    later = replace(MUTANT, name="shop:a.py:20:text#2")
    for mutant in (later, MUTANT):
        ledger.note(Outcome(mutant, Fate.CAUGHT, "why"))
    ledger.note_application("shop", "once")
    ledger.note_application("shop", "twice")
    found = Ledger(path).list_outcomes()
    assert [one.mutant.name for one in found] == [MUTANT.name, later.name]
    assert (found[1].mutant.line, found[1].mutant.operator, found[1].why) == (20, "text", "why")
    assert Ledger(path).list_notes() == ["twice"]
