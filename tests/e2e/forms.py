"""`python -m tests.e2e.forms`: the same verdicts in every form of a test run, again and again.

Each application is recorded once and replayed with everything it depends on switched off: plainly,
in a network of its own, in several instances side by side, and without eBPF by an ordinary user.
The verdict of each case is compared with that of the first plain run.  Prints a table; run by
`make forms`.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from examples.processes import exiting_on_signals
from tests.e2e.fidelity import explain
from tests.e2e.kebpf_runs import TestRun
from tests.e2e.ordinary import find_ordinary_user, open_folder
from tests.e2e.small_subjects import find_small_subjects
from tests.e2e.subjects import Subject, find_subjects

RUNS = 10
JOBS = 4
SHOWN = 12  # lines of what differs

Verdicts = dict[str, str]


@dataclass(frozen=True)
class Form:
    """One way to run a test, as root or as an ordinary user."""

    name: str
    options: tuple[str, ...] = ()
    is_roots: bool = True


FORMS = (
    Form("plain"),
    Form("isolated", ("--isolated",)),
    Form(f"jobs {JOBS}", ("--jobs", str(JOBS))),
    Form("rootless", ("--rootless",), is_roots=False),
)


@dataclass
class Account:
    """What came of one application: by form how many runs there were, and how many were alike."""

    name: str
    expected: Verdicts = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether every run had the verdicts of the first one, and all of them passed."""
        return bool(self.expected) and self.alike == self.runs == self.passed

    def take(self, form: str, run: TestRun) -> bool:
        """Compares a run with the first one; gives whether it was like it, and passed."""
        verdicts = read_verdicts(run)
        if not self.expected:
            self.expected = verdicts
        self.runs[form] += 1
        self.passed[form] += run.status == 0
        self.alike[form] += verdicts == self.expected
        is_alike = verdicts == self.expected and run.status == 0
        if not is_alike:
            self.differences += [f"{form}: {line}" for line in tell(self.expected, verdicts)]
            self.differences += [f"{form}: {line}" for line in explain(run)]
        return is_alike


def read_verdicts(run: TestRun) -> Verdicts:
    """The verdict of each case by its name."""
    return {case["case"]: case["verdict"] for case in run.cases}


def tell(expected: Verdicts, found: Verdicts) -> list[str]:
    """The cases whose verdicts differ."""
    names = dict.fromkeys([*expected, *found])
    pairs = ((name, expected.get(name), found.get(name)) for name in names)
    return [
        f"{name} {new or 'not run'}, not {old or 'run'}" for name, old, new in pairs if old != new
    ]


def examine(
    subject: Subject,
    folder: Path,
    runs: int = RUNS,
    forms: Sequence[Form] = FORMS,
    keep: Path | None = None,
    minutes: float = math.inf,
) -> Account:
    """Records one application and replays it so often in each form.

    ``keep`` is where the test set goes, and the reports of runs that were not alike.  After so many
    ``minutes`` no further round of all forms begins.
    """
    end = time.monotonic() + 60 * minutes
    account = Account(subject.name)
    with subject.recorded(folder / subject.name) as recorded, open_folder("kebpf-user-") as home:
        theirs = recorded.lend(find_ordinary_user(), home)
        if keep is not None:
            shutil.copytree(recorded.path, keep / subject.name)
        for number in range(runs):
            if number and time.monotonic() > end:
                break
            for form in forms:
                ours = recorded if form.is_roots else theirs
                report = ours.path.with_suffix(".jsonl")
                is_alike = account.take(form.name, ours.replay(report, *form.options))
                if keep is not None and not is_alike and report.exists():
                    shutil.copy(report, keep / f"{subject.name}-{form.name}-{number}.jsonl")
    return account


def describe(account: Account) -> str:
    """The application's part of the table."""
    columns = [
        f"{name} {account.alike[name]}/{runs}, passed {account.passed[name]}"
        for name, runs in account.runs.items()
    ]
    lines = [
        f"{account.name}: {len(account.expected)} cases; the same verdicts: {'; '.join(columns)}",
        *(f"  {line[:300]}" for line in account.differences[:SHOWN]),
    ]
    return "\n".join(lines)


def find_named(given: argparse.Namespace) -> Iterator[Subject]:
    """Those that are meant and can be run here; says why another cannot."""
    for subject in (*find_subjects(given.in_flight), *find_small_subjects(given.in_flight)):
        if given.names and subject.name not in given.names:
            continue
        if (reason := subject.why_not()) is None:
            yield subject
        else:
            typer.echo(f"{subject.name}: skipped, {reason}")


def main() -> int:
    """The command line; 1 when a verdict differed or a run failed, 3 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="applications (default: all)")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument(
        "--in-flight", type=int, help="a crowd of so many, each for one visit: a small recording"
    )
    parser.add_argument("--keep", type=Path, help="a folder for test sets and for what differed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="most for each application")
    given = parser.parse_args()
    if os.geteuid() != 0:
        typer.echo("recording needs root: sudo, or make forms", err=True)
        return 3
    typer.echo(f"rootless: as {find_ordinary_user()}")
    accounts = []
    with exiting_on_signals(), open_folder("kebpf-forms-") as folder:
        for subject in find_named(given):
            own = folder / f"of-{subject.name}"
            own.mkdir()
            accounts.append(examine(subject, own, given.runs, FORMS, given.keep, given.minutes))
            typer.echo(describe(accounts[-1]))
    return 0 if accounts and all(one.is_whole for one in accounts) else 1


if __name__ == "__main__":
    sys.exit(main())
