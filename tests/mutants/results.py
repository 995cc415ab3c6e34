"""The rate per application and operator, and why each survivor survived, as a page."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.campaign import Fate, Outcome

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
SURVIVORS = FOLDER / "survivors.toml"
UNEXPLAINED = "UNEXPLAINED"
UNNOTICED = "no observable difference: oracle"
WHY_CHARACTERS = 300
_CAUGHT = (Fate.CAUGHT, Fate.NOT_STARTED)
_HEAD = """# Mutants

<!-- written by `make mutants` -->

Each mutant is one change of an application's source. Those whose code the recorded requests run are replayed against the recording made with three customers at a time. One that passes is run live beside the original, with real servers, and what clients and servers saw is compared: if nothing differs it is *equivalent*, else it *escaped*. The rate is caught / (caught + escaped).
"""  # noqa: E501


@dataclass(frozen=True)
class Survivors:
    """The reasons people gave for survivors, by the mutants' names."""

    reasons: Mapping[str, str]

    def explain(self, outcome: Outcome) -> str:
        """Why a mutant survived: what a person wrote, else what the oracle found."""
        silent = UNNOTICED if outcome.fate is Fate.EQUIVALENT else UNEXPLAINED
        return self.reasons.get(outcome.mutant.name, silent)

    def find_stale(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Mutants with a reason that are caught by now."""
        caught = {one.mutant.name for one in outcomes if one.fate in _CAUGHT}
        return [name for name in self.reasons if name in caught]


def read_survivors(path: Path = SURVIVORS) -> Survivors:
    """A table a reason, with the mutants it holds for.  Raises `ValueError` for one named twice."""
    reasons: dict[str, str] = {}
    for group in tomllib.loads(path.read_text()).get("survivor", []):
        for name in group["mutants"]:
            if name in reasons:
                raise ValueError(f"{name} has two reasons")
            reasons[name] = group["reason"]
    return Survivors(reasons)


def is_survivor(outcome: Outcome) -> bool:
    return outcome.fate not in (*_CAUGHT, Fate.NOT_REACHED)


def find_unexplained(outcomes: Sequence[Outcome], survivors: Survivors) -> list[Outcome]:
    """Survivors without a reason."""
    return [one for one in outcomes if is_survivor(one) and survivors.explain(one) == UNEXPLAINED]


def write_page(outcomes: Sequence[Outcome], survivors: Survivors, notes: Sequence[str]) -> str:
    """The whole page."""
    lines = [_HEAD, *_write_table("application", _application_of, outcomes), ""]
    lines += [*_write_table("operator", lambda one: one.mutant.operator, outcomes), ""]
    lines += [f"{note}\n" for note in notes]
    lines.append("## Survivors\n")
    lines += [_write_survivor(one, survivors) for one in outcomes if is_survivor(one)]
    return "\n".join(lines).rstrip() + "\n"


def _application_of(outcome: Outcome) -> str:
    return outcome.mutant.name.partition(":")[0]


def _write_table(
    title: str, key_of: Callable[[Outcome], str], outcomes: Sequence[Outcome]
) -> Iterator[str]:
    yield f"| {title} | mutants | caught | did not start | escaped | equivalent | rate |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    rows: dict[str, Counter[Fate]] = {}
    for one in outcomes:
        if one.fate is not Fate.NOT_REACHED:
            rows.setdefault(key_of(one), Counter())[one.fate] += 1
    total: Counter[Fate] = sum(rows.values(), Counter())
    for name, counts in [*sorted(rows.items()), ("all", total)]:
        yield _write_row(name, counts)


def _write_row(name: str, counts: Counter[Fate]) -> str:
    caught = sum(counts[fate] for fate in _CAUGHT)
    escaped = counts[Fate.ESCAPED] + counts[Fate.BROKEN]
    cells = (
        counts.total(), counts[Fate.CAUGHT], counts[Fate.NOT_STARTED], escaped,
        counts[Fate.EQUIVALENT], rate(caught, escaped),
    )  # fmt: skip
    return f"| {name} | {' | '.join(map(str, cells))} |"


def rate(caught: int, escaped: int) -> str:
    """Never rounded up to all."""
    if caught + escaped == 0:
        return "–"
    return f"{int(caught / (caught + escaped) * 1000) / 10} %"


def _write_survivor(outcome: Outcome, survivors: Survivors) -> str:
    mutant = outcome.mutant
    lines = [
        f"- `{mutant.name}` {outcome.fate}",
        f"  - ``{mutant.before}`` → ``{mutant.after}``",
        f"  - {survivors.explain(outcome)}",
    ]
    if outcome.why:
        lines.append(f"  - the oracle: ``{outcome.why[:WHY_CHARACTERS]}``")
    if outcome.alone:
        lines.append(f"  - the recording of one customer finds it: {outcome.alone}")
    return "\n".join(lines)
