"""`python -m tests.e2e.forms`: the same verdicts in every form of a test run, again and again.

Each application is recorded once and replayed with everything it depends on switched off: plainly,
in a network of its own, in several instances side by side, without eBPF.  The verdict of each case
is compared with that of the first plain run.  Prints a table; run by `make forms`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from examples.processes import exiting_on_signals
from tests.e2e.fidelity import explain
from tests.e2e.kebpf_runs import TestRun
from tests.e2e.subjects import Recorded, Subject, find_subjects

RUNS = 10
JOBS = 4
SHOWN = 12  # lines of what differs

Verdicts = dict[str, str]


@dataclass(frozen=True)
class Form:
    """One way to run a test."""

    name: str
    options: tuple[str, ...] = ()

    def replay(self, recorded: Recorded, report: Path) -> TestRun:
        return recorded.replay(report, *self.options)


FORMS = (
    Form("plain"),
    Form("isolated", ("--isolated",)),
    Form(f"jobs {JOBS}", ("--jobs", str(JOBS))),
    Form("rootless", ("--rootless",)),
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

    def take(self, form: str, run: TestRun) -> None:
        """Compares a run with the first one."""
        verdicts = read_verdicts(run)
        if not self.expected:
            self.expected = verdicts
        self.runs[form] += 1
        self.passed[form] += run.status == 0
        self.alike[form] += verdicts == self.expected
        if verdicts != self.expected or run.status != 0:
            self.differences += [f"{form}: {line}" for line in tell(self.expected, verdicts)]
            self.differences += [f"{form}: {line}" for line in explain(run)]


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
    subject: Subject, folder: Path, runs: int = RUNS, forms: Sequence[Form] = FORMS
) -> Account:
    """Records one application and replays it so often in each form."""
    account = Account(subject.name)
    report = folder / f"{subject.name}.jsonl"
    with subject.recorded(folder / subject.name) as recorded:
        for _ in range(runs):
            for form in forms:
                account.take(form.name, form.replay(recorded, report))
    return account


def describe(account: Account) -> str:
    """The application's part of the table."""
    columns = [f"{name} {account.alike[name]}/{runs}" for name, runs in account.runs.items()]
    lines = [
        f"{account.name}: {len(account.expected)} cases; the same verdicts: {', '.join(columns)}",
        *(f"  {line[:300]}" for line in account.differences[:SHOWN]),
    ]
    return "\n".join(lines)


def main() -> int:
    """The command line; 1 when a verdict differed or a run failed, 3 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="applications (default: all)")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    if os.geteuid() != 0:
        typer.echo("recording needs root: sudo, or make forms", err=True)
        return 3
    accounts = []
    with exiting_on_signals(), tempfile.TemporaryDirectory(prefix="kebpf-forms-") as folder:
        for subject in find_subjects():
            if given.names and subject.name not in given.names:
                continue
            if (reason := subject.why_not()) is not None:
                typer.echo(f"{subject.name}: skipped, {reason}")
                continue
            own = Path(folder, f"of-{subject.name}")
            own.mkdir()
            account = examine(subject, own, given.runs)
            typer.echo(describe(account))
            accounts.append(account)
    return 0 if accounts and all(one.is_whole for one in accounts) else 1


if __name__ == "__main__":
    sys.exit(main())
