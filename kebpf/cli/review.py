"""``kebpf review``: goes through the differences of a run and changes the test set accordingly."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

from kebpf.cli.deciding import Asking, Decision, Decisions
from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError
from kebpf.cli.lines import print_lines
from kebpf.cli.noisefile import add_noise
from kebpf.cli.options import ReviewOptions, TestOptions
from kebpf.cli.test import check_cases, interrupt, make_run_options, name_set, open_sets, report_run
from kebpf.protocols.registry import get_protocol
from kebpf.recording.amendment import AmendedSet
from kebpf.recording.errors import TestSetError
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet
from kebpf.replay.accepting import CannotAcceptError
from kebpf.replay.invoker import InvokerError
from kebpf.replay.noise import Noise
from kebpf.replay.review import Item, NoReviewError, Review
from kebpf.replay.runner import Runner
from kebpf.replay.setrun import Environment
from kebpf.report.jsonl import JsonLinesReporter
from kebpf.report.lines import Line, Tone, count
from kebpf.report.reporter import Reporter
from kebpf.report.review import show_decision
from kebpf.report.runfile import RunFile, RunFileError, parse_run, read_run, shorten_names
from kebpf.report.terminal import TerminalReporter

MOST_ROUNDS = 6  # runs of one review: what a call hid shows in the next


def run_review(options: ReviewOptions, read: TextIO, out: TextIO) -> int:
    """Reviews on this host; the exit status.  Raises `KebpfError`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    session = _Session(options, read, out)
    if options.run is not None:
        return session.review_file(options.run)
    return session.review_runs()


@dataclass(slots=True)
class _Round:
    """What one pass over one test set came to."""

    decided: Decisions
    accepted: list[Item] = field(default_factory=list)


class _Session:
    """One review, of one run file or of as many runs as it takes."""

    def __init__(self, options: ReviewOptions, read: TextIO, out: TextIO) -> None:
        self._options = options
        self._read = read
        self._out = out
        self._noise = list(options.noise)
        self._known: dict[tuple[str, ...], Decision] = {}  # what is not asked again
        self._has_quit = False
        self._has_reviewed = False

    def review_file(self, path: Path) -> int:
        """Reviews one run, once."""
        try:
            run = read_run(path)
        except RunFileError as error:
            raise CommandUsageError(str(error)) from error
        if not run.is_whole:
            self._say(f"{path} is of a run that was cut short: only its cases are seen")
        accepted, open_ = self._review_run(run)
        if accepted:
            self._say("run kebpf test again to see what is left")
        return ExitStatus.CASE_FAILED if open_ or run.failures else ExitStatus.PASSED

    def review_runs(self) -> int:
        """Runs and reviews until nothing more is accepted; the last run's exit status counts."""
        for number in range(MOST_ROUNDS):
            if number:
                self._say("", "running it again with what was decided", tone=Tone.HEADING)
            run, status = self._run()
            if status not in (ExitStatus.PASSED, ExitStatus.CASE_FAILED):
                return status
            accepted, _ = self._review_run(run)
            if not accepted or self._has_quit:
                return status if not accepted else self._count_end()
        return self._count_end()

    def _count_end(self) -> int:
        self._say("run kebpf test to see what is left")
        return ExitStatus.CASE_FAILED

    def _run(self) -> tuple[RunFile, int]:
        """One run of all sets, shown as ``kebpf test`` shows it."""
        options = self._options
        try:
            sets = open_sets(options.test_sets)
            check_cases(sets)
            asked = TestOptions(
                options.test_sets,
                options.command,
                delay=options.delay,
                timeout=options.timeout,
                user=options.user,
                trust=options.trust,
                verbose=options.verbose,
            )
            runner = Runner(make_run_options(asked), sets, self._make_environment())
        except (TestSetError, InvokerError) as error:
            raise KebpfError(str(error)) from error
        told = io.StringIO()
        reporters: list[Reporter] = [
            TerminalReporter(self._out, verbose=options.verbose),
            JsonLinesReporter(told),
        ]
        status = report_run(runner.run(), reporters)
        return parse_run(told.getvalue().encode(), "the run"), status

    def _make_environment(self) -> Environment:
        from kebpf.cli.environment import make_environment

        return make_environment(self._noise)

    def _review_run(self, run: RunFile) -> tuple[int, int]:
        """How many differences were accepted or declared noise, and how many are left."""
        accepted = left = 0
        for path, entries in _find_sets(self._options, run):
            try:
                test_set = TestSet.open(path)
                findings = (run.finished or {}).get("findings") or []
                noise = Noise(self._noise)
                review = Review(test_set, entries, findings, get_protocol, noise)
                done = self._review_set(test_set, review)
            except (TestSetError, NoReviewError) as error:
                raise KebpfError(str(error)) from error
            accepted += len(done.accepted) + len(done.decided.of(Decision.NOISE))
            items = done.decided.items
            left += len(items) - len(done.accepted) - len(done.decided.of(Decision.NOISE))
            if self._has_quit:
                break
        if not accepted and not left and not self._has_reviewed:
            self._say("there is no difference to review")
        self._has_reviewed = True
        return accepted, left

    def _review_set(self, test_set: TestSet, review: Review) -> _Round:
        decided = self._decide(test_set.name, review)
        self._has_quit = self._has_quit or decided.has_quit
        result = _Round(decided, decided.of(Decision.ACCEPTED))
        rules = decided.list_rules()
        amended = self._amend(review, result)
        if rules:
            add_noise(self._options.folder, rules)
            self._noise += rules
        if amended.has_changes:
            rewrite_set(test_set, amended)
        self._show_end(test_set, amended, decided, result)
        for decision in (Decision.REJECTED, Decision.SKIPPED):
            for item in decided.of(decision):
                self._known[test_set.name, *item.key] = decision
        return result

    def _decide(self, name: str, review: Review) -> Decisions:
        if self._options.is_accepting_all or self._options.patterns:
            return _accept_wanted(review, self._options)
        new = [item for item in review.items if (name, *item.key) not in self._known]
        decided = Asking(new, review.check, self._read, self._out).run()
        seen = [item for item in review.items if (name, *item.key) in self._known]
        for item in seen:
            decided.items.append(item)
            decided.made[len(decided.items) - 1] = self._known[name, *item.key]
        return decided

    def _amend(self, review: Review, result: _Round) -> AmendedSet:
        """With all that was accepted; what does not go together with the rest is given up."""
        while True:
            try:
                return review.amend(result.accepted)
            except CannotAcceptError as error:
                item = result.accepted.pop()
                self._print(show_decision("not accepted", item))
                self._say(f"  {error}", tone=Tone.WARNING)

    def _show_end(
        self, test_set: TestSet, amended: AmendedSet, decided: Decisions, result: _Round
    ) -> None:
        is_asked = not (self._options.is_accepting_all or self._options.patterns)
        accepted = [] if is_asked else result.accepted
        self._print(*(show_decision("accepted", item) for item in accepted))
        for item in decided.items if not is_asked else ():
            if not any(item is one for one in result.accepted):
                self._print(show_decision("left", item))
                if item.problem is not None:
                    self._say(f"  {item.problem}", tone=Tone.WARNING)
        if not decided.items:
            return
        parts = [f"{len(result.accepted):,} accepted"]
        for decision in (Decision.REJECTED, Decision.NOISE, Decision.SKIPPED):
            number = len(decided.of(decision))
            parts += [f"{number:,} {decision.value}"] if number else []
        open_ = len(decided.items) - len(decided.made)
        parts += [f"{open_:,} not decided"] if open_ else []
        changed = [count(len(amended.changed), "case")] if amended.changed else []
        changed += ["mocks.msgpack"] if amended.has_new_mocks else []
        where = f"; changed in {name_set(test_set.folder)}: {', '.join(changed)}" if changed else ""
        self._say(f"{', '.join(parts)}{where}", tone=Tone.HEADING)

    def _say(self, *texts: str, tone: Tone = Tone.PLAIN) -> None:
        self._print(*(Line(text, tone) for text in texts))

    def _print(self, *lines: Line) -> None:
        print_lines(self._out, lines)


def _find_sets(
    options: ReviewOptions, run: RunFile
) -> Iterable[tuple[Path, list[dict[str, object]]]]:
    """The folder of each test set of the run, with the events of its cases."""
    names = shorten_names([str(path) for path in options.test_sets])
    folders = {short: Path(name) for name, short in names.items()}
    entries: dict[str, list[dict[str, object]]] = {}
    for (name, _), event in run.cases.items():
        entries.setdefault(name, []).append(event)
    missing = sorted(set(entries) - set(folders))
    if missing and not set(entries) & set(folders):
        raise CommandUsageError(
            f"the run is of {', '.join(missing)}, which is none of the test sets here",
            hint="name the test set: kebpf review SET --run FILE",
        )
    return [(folders[name], entries[name]) for name in entries if name in folders]


def _accept_wanted(review: Review, options: ReviewOptions) -> Decisions:
    """Everything that was asked for by pattern, and can be accepted."""
    decided = Decisions(review.items)
    for place, item in enumerate(review.items):
        if not (options.is_accepting_all or any(_fits(item, one) for one in options.patterns)):
            continue
        try:
            review.check(item, decided.of(Decision.ACCEPTED))
        except CannotAcceptError as error:
            item.problem = str(error)
            continue
        decided.made[place] = Decision.ACCEPTED
    return decided


def _fits(item: Item, pattern: str) -> bool:
    """``CASE`` or ``CASE:/PATH``, both as globs; a path of a response only."""
    name, colon, path = pattern.partition(":/")
    if not fnmatchcase(item.case or "", name):
        return False
    paths: Sequence[str] = [one.path for one in item.mismatches]
    return not colon or (bool(paths) and all(fnmatchcase(one, f"/{path}") for one in paths))
