"""`python -m tests.e2e.fidelity`: every application recorded in a crowd passes, again and again.

Each is recorded with many requests in flight, then replayed in recorded order, in shuffled orders
and each case alone, with everything it depends on switched off.  Prints a table; run by
`make fidelity`.
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
from kebpf.recording.store import TestSet
from tests.e2e.kebpf_runs import Entry, TestRun, read_set
from tests.e2e.small_subjects import find_small_subjects
from tests.e2e.subjects import Recorded, Subject, find_subjects

RUNS = 20
ALONE_AT_ONCE = 20  # cases of one `kebpf test --alone`: short enough for its time limit
JOBS = 2  # of these, so many applications side by side, each with a responder of its own
FORMS = ("recorded order", "shuffled", "alone")
SHOWN = 12  # lines of failures


@dataclass
class Account:
    """What came of one application; `passes` and `runs` by form."""

    name: str
    in_flight: int
    cases: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    evidence: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything passed."""
        return self.cases > 0 and self.passes == self.runs

    def take(self, form: str, run: TestRun) -> None:
        """Counts a run and keeps what failed in it."""
        self.runs[form] += 1
        self.passes[form] += run.status == 0
        if run.status != 0:
            self.failures += [f"{form}: {line}" for line in explain(run)]


def explain(run: TestRun) -> list[str]:
    """A line for each case that failed, and for each finding of no one case."""
    lines = []
    for case in run.failed:
        calls = [f"{one['kind']} {one['call']}" for one in case["calls"]]
        paths = [f"{one['path']} {one['kind']}" for one in case["mismatches"]]
        found = [case["error"], *calls, *paths]
        lines.append(f"{case['case']}: {'; '.join(filter(None, found))}")
    last = run.events[-1] if run.events else {}
    lines += [f"no one case: {one['kind']} {one['call']}" for one in last.get("findings", [])]
    return lines or [f"exit status {run.status}: {run.output[-500:]}"]


def count_evidence(entries: Sequence[Entry]) -> Counter[str]:
    """The calls of cases by why they are held to be theirs; ``open`` among several."""
    calls = [one for one in entries if one["kind"] == "mock" and one["tier"] == "case"]
    return Counter("open" if one["case"] is None else one["evidence"] for one in calls)


def examine(
    subject: Subject,
    folder: Path,
    runs: int = RUNS,
    alone: int | None = None,
    jobs: int = JOBS,
    options: Sequence[str] = (),
) -> Account:
    """Records and replays one application; ``alone`` is how many cases run alone (none: all).

    Those have an application each, ``jobs`` of them at a time.  ``options`` are of the recording.
    """
    account = Account(subject.name, subject.in_flight)
    path = folder / subject.name
    with subject.recorded(path, *options) as recorded:
        entries = read_set(path)
        names = [one["name"] for one in entries if one["kind"] == "test"]
        account.cases, account.evidence = len(names), count_evidence(entries)
        account.left_out = read_left_out(path)
        report = folder / f"{subject.name}.jsonl"
        for number in range(runs):
            account.take(FORMS[0], recorded.replay(report))
            account.take(FORMS[1], recorded.replay(report, f"--shuffle={number}"))
        run_alone(account, recorded, report, spread(names, alone), jobs)
    return account


def run_alone(
    account: Account, recorded: Recorded, report: Path, names: Sequence[str], jobs: int
) -> None:
    """Each case against a start of its own; each counts as a run."""
    for at in range(0, len(names), ALONE_AT_ONCE):
        some = names[at : at + ALONE_AT_ONCE]
        options = [word for name in some for word in ("--case", name)]
        run = recorded.replay(report, "--alone", f"--jobs={jobs}", *options)
        failed = len(run.failed) + len(run.finished["findings"])
        account.runs[FORMS[2]] += len(some)
        account.passes[FORMS[2]] += len(some) - min(failed, len(some))
        if run.status != 0:
            account.failures += [f"{FORMS[2]}: {line}" for line in explain(run)]


def spread(names: Sequence[str], most: int | None) -> list[str]:
    """At most so many, from all over the recording."""
    if most is None or most >= len(names):
        return list(names)
    return [names[at * len(names) // most] for at in range(most)]


def read_left_out(path: Path) -> dict[str, int]:
    """Why requests are no cases, or none to be run, from the manifest."""
    manifest = TestSet.open(path).manifest
    return {**manifest.losses.left_out, **Counter(manifest.set_apart.values())}


def describe(account: Account) -> str:
    """The application's part of the table."""
    total = max(account.evidence.total(), 1)
    kinds = ", ".join(f"{kind} {n / total:.0%}" for kind, n in account.evidence.most_common())
    passes = ", ".join(f"{form} {account.passes[form]}/{account.runs[form]}" for form in FORMS)
    lines = [
        f"{account.name}: {account.in_flight} in flight, {account.cases} cases; {passes}",
        f"  calls: {account.evidence.total()}: {kinds}",
        *(f"  left out: {count} × {reason}" for reason, count in account.left_out.items()),
        *(f"  {line[:300]}" for line in account.failures[:SHOWN]),
    ]
    return "\n".join(lines)


def tell(text: str, results: Path | None) -> None:
    """Prints it; appends it to ``results``, if any, so that what is interrupted is not lost."""
    typer.echo(text)
    if results is not None:
        with results.open("a") as out:
            out.write(f"{text}\n")


def main() -> int:
    """The command line; 1 when something did not pass, 3 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="applications (default: all)")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--alone", type=int, help="cases to run alone (default: all)")
    parser.add_argument("--jobs", type=int, default=JOBS, help="of these, so many side by side")
    parser.add_argument("--in-flight", type=int, help="requests at once (default: its own crowd)")
    parser.add_argument("--results", type=Path, help="a file that the lines are appended to, too")
    parser.add_argument("--redact", action=argparse.BooleanOptionalAction, help="the secrets")
    given = parser.parse_args()
    options = [] if given.redact is None else ["--redact" if given.redact else "--no-redact"]
    if os.geteuid() != 0:
        typer.echo("recording needs root: sudo, or make fidelity", err=True)
        return 3
    accounts = []
    with exiting_on_signals(), tempfile.TemporaryDirectory(prefix="kebpf-fidelity-") as folder:
        for subject in (*find_subjects(given.in_flight), *find_small_subjects(given.in_flight)):
            if given.names and subject.name not in given.names:
                continue
            if (reason := subject.why_not()) is not None:
                typer.echo(f"{subject.name}: skipped, {reason}")
                continue
            own = Path(folder, f"of-{subject.name}")
            own.mkdir()
            account = examine(subject, own, given.runs, given.alone, given.jobs, options)
            tell(describe(account), given.results)
            accounts.append(account)
    return 0 if accounts and all(one.is_whole for one in accounts) else 1


if __name__ == "__main__":
    sys.exit(main())
