"""Mutates the applications, replays a recording against every mutant and prints the rate.

``python -m tests.mutants`` (as root; `make mutants`, which takes MUTANTS_ARGS) takes them all, or
an even ``--sample``, writes RESULTS.md beside this file and exits with 1 if a mutant survived
without a reason in survivors.toml.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from examples.processes import exiting_on_signals
from tests.mutants.applications import NAMES
from tests.mutants.campaign import Campaign, Fate, Outcome, choose_sample
from tests.mutants.ledger import Ledger
from tests.mutants.mutant import Mutant
from tests.mutants.results import (
    RESULTS,
    Survivors,
    find_unexplained,
    is_survivor,
    read_survivors,
    write_page,
)

WORK = Path(__file__).parents[2] / "build" / "mutants"


class Progress:
    """Prints what needs a look as it comes, and keeps every outcome in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counts: Counter[Fate] = Counter()
        self._lock = threading.Lock()

    def tell(self, outcome: Outcome) -> None:
        mutant = outcome.mutant
        self._ledger.note(outcome)
        with self._lock:
            self._counts[outcome.fate] += 1
            if is_survivor(outcome):
                print(f"{outcome.fate}: {mutant.name}", mutant.before, mutant.after, sep="\n    ")
                print(f"    {outcome.why}"[:400], flush=True)
            elif self._counts.total() % 50 == 0:
                print(f"{self._counts.total()} mutants", flush=True)


def make_choice(
    given: argparse.Namespace, ledger: Ledger
) -> Callable[[Sequence[Mutant]], Sequence[Mutant]]:
    """Which mutants of an application are run."""
    if given.only:
        return lambda mutants: [
            one for one in mutants if any(fnmatch.fnmatch(one.name, name) for name in given.only)
        ]
    if not given.sample:
        return lambda mutants: mutants

    def choose(mutants: Sequence[Mutant]) -> Sequence[Mutant]:
        sample = choose_sample(given.sample)(mutants)
        known = [one for one in mutants if given.resume and ledger.find(one) is not None]
        return [one for one in mutants if one in sample or one in known]

    return choose


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--app", action="append", choices=NAMES, help="only this application")
    parser.add_argument("--only", action="append", metavar="ID", help="only mutants of this name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of each application")
    parser.add_argument("--resume", action="store_true", help="not those run since the last start")
    parser.add_argument("--page", action="store_true", help="run nothing, write what is known")
    return parser.parse_args()


def main() -> int:
    """The command line."""
    given = parse()
    WORK.mkdir(parents=True, exist_ok=True)
    survivors = read_survivors()
    path = WORK / "outcomes.jsonl"
    if not (given.resume or given.app or given.only or given.page):
        path.unlink(missing_ok=True)
    ledger = Ledger(path)
    progress = Progress(ledger)
    outcomes: list[Outcome] = []
    notes = [f"A sample: {given.sample} of each application."] if given.sample else []
    began = time.monotonic()
    with exiting_on_signals():
        names = [name for name in NAMES if not given.app or name in given.app]
        names = [] if given.page else names
        if given.only:
            wanted = {pattern.partition(":")[0] for pattern in given.only}
            names = [name for name in names if any(fnmatch.fnmatch(name, w) for w in wanted)]
        for name in names:
            campaign = Campaign(
                name,
                WORK / name,
                given.jobs,
                progress.tell,
                ledger.find if given.resume else lambda mutant: None,
                partial(ledger.note_unmutated, name),
            )
            found = campaign.run(make_choice(given, ledger))
            outcomes += found
            text = describe(name, campaign, found, ledger.count_unmutated(name))
            ledger.note_application(name, text)
            print(text, flush=True)
    if given.page:
        outcomes = ledger.list_outcomes()
    page = write_page(outcomes, survivors, [*notes, *ledger.list_notes()])
    print(page.partition("## Survivors")[0])
    if not (given.app or given.only):
        RESULTS.write_text(page)
    print(f"{time.monotonic() - began:.0f} s")
    return settle(outcomes, survivors)


def settle(outcomes: Sequence[Outcome], survivors: Survivors) -> int:
    """1 if a mutant survived and nobody said why; reasons that are out of date are told."""
    unexplained = find_unexplained(outcomes, survivors)
    for one in unexplained:
        print(f"UNEXPLAINED: {one.mutant.name} ({one.fate})")
    for name in survivors.find_stale(outcomes):
        print(f"stale: {name} has a reason in survivors.toml and is caught")
    return 1 if unexplained else 0


def describe(
    name: str, campaign: Campaign, outcomes: Sequence[Outcome], unmutated: tuple[int, int]
) -> str:
    """What else is to be known about an application's rate."""
    idle = sum(one.fate is Fate.NOT_REACHED for one in outcomes)
    baselines, flakes = unmutated
    cases = campaign.cases
    return (
        f"{name}: {cases['crowd']} cases recorded under load ({cases['alone']} with one customer);"
        f" {idle} mutants of code that does not run are not counted, {campaign.unchosen} others"
        f" were not run; the unmutated version was replayed {baselines} times in between and failed"
        f" {flakes} times;"
        f" {len(campaign.failed_recordings)} recordings it did not pass were made anew"
        + "".join(f" ({one})" for one in campaign.failed_recordings)
        + "."
    )


if __name__ == "__main__":
    sys.exit(main())
