from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant, name_mutants, take_sample
from tests.mutants.python_rules import find_edits

SOURCE = b"a = 1\nb = f(2, 3, True)\n"


def name_all(source: bytes) -> list[Mutant]:
    return list(name_mutants("app", "x.py", source, find_edits(source)))


def test_names_say_where_and_count_within_a_line() -> None:
    assert [mutant.name for mutant in name_all(SOURCE)] == [
        "app:x.py:1:number#1",
        "app:x.py:2:number#1",
        "app:x.py:2:swap-arguments#1",
        "app:x.py:2:number#2",
        "app:x.py:2:constant#1",
    ]


def test_names_do_not_depend_on_what_follows() -> None:
    names = [mutant.name for mutant in name_all(SOURCE)]
    longer = [mutant.name for mutant in name_all(SOURCE + b"c = 4 == d\n")]
    assert longer[: len(names)] == names


def test_a_mutant_shows_what_it_changes() -> None:
    shown = [(mutant.before, mutant.after) for mutant in name_all(SOURCE)]
    assert shown[0] == ("a = 1", "a = 2")
    assert shown[2] == ("b = f(2, 3, True)", "b = f(3, 2, True)")


def test_edits_with_the_same_effect_are_one_mutant() -> None:
    reach = range(1, 2)
    edits = [Edit("one", 4, 5, b"2", reach), Edit("two", 4, 5, b"2", reach)]
    edits.append(Edit("none", 4, 5, b"1", reach))
    assert [mutant.operator for mutant in name_mutants("app", "x.py", SOURCE, edits)] == ["one"]


def test_a_sample_is_fixed_and_has_every_operator() -> None:
    mutants = name_all(b"".join(b"v%d = w == %d\n" % (n, n) for n in range(50)))
    sample = take_sample(mutants, 6)
    assert sample == take_sample(mutants, 6)
    assert sorted(mutant.operator for mutant in sample) == ["comparison"] * 3 + ["number"] * 3
    assert len({mutant.line for mutant in sample}) == 3
    assert take_sample(mutants, 1000) == mutants
