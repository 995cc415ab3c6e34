"""What a run comes to: counts, how strongly values were compared, and the ledger of mocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kebpf.replay.events import CallFinding, CaseFinished, MissKind, RunFinished, Verdict
from kebpf.replay.noise import NoiseUse
from kebpf.report.calls import MISS_SENTENCES, rank_calls, show_call
from kebpf.report.lines import Line, Tone, count, fill, indent
from kebpf.report.uncompared import list_uncompared
from kebpf.report.values import cut, escape_controls

UNUSED_LIMIT = 10
CACHED_LIMIT = 5
TOLD = "told above as missing or changed calls"
UNCOMPARED_LIMIT = 10  # places that were not compared
MOST_NAMED = 1000  # cases of which some values were not compared, by name
CACHED = "made or left out by a cache in another state than when recorded, or given up"
UNASSERTED = "requests that were left out of the recording may have made them there"


@dataclass(slots=True)
class Tally:
    """Adds up what the cases say: compared values, misses by kind, who left values out."""

    exact: int = 0
    by_class: int = 0
    not_compared: int = 0
    misses: Counter[MissKind] = field(default_factory=Counter)
    uncompared: Counter[str] = field(default_factory=Counter)  # place and reason → values
    partly_compared: dict[str, int] = field(default_factory=dict)  # case → values, up to a cap
    more_partly_compared: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    told_mocks: set[str] = field(default_factory=set)  # as calls that are missing or changed
    test_sets: set[str] = field(default_factory=set)

    def add(self, case: CaseFinished) -> None:
        self.exact += case.exact
        self.by_class += case.by_class
        self.not_compared += case.not_compared
        self.test_sets.add(case.test_set)
        if case.not_compared:
            self._add_uncompared(case)
        if case.verdict is Verdict.SKIPPED:
            self.skipped[case.case] = case.error or "no reason was given"
        self.add_misses(case.calls)

    def add_misses(self, findings: Sequence[CallFinding]) -> None:
        for finding in findings:
            if finding.miss is not None:
                self.misses[finding.miss] += finding.count
            if finding.kind in ("missing", "changed") and finding.mock is not None:
                self.told_mocks.add(finding.mock)

    def _add_uncompared(self, case: CaseFinished) -> None:
        self.uncompared.update(list_uncompared(case))
        if len(self.partly_compared) < MOST_NAMED:
            self.partly_compared[case.case] = case.not_compared
        else:
            self.more_partly_compared += 1

    def is_told(self, mock: str) -> bool:
        """Whether a mock that was not used is a call which was told already.

        Names are those of one test set: with several nothing is taken for told.
        """
        return len(self.test_sets) == 1 and mock in self.told_mocks


def show_summary(
    finished: RunFinished, tally: Tally, width: int, verbose: bool = False
) -> list[Line]:
    """The lines at the end of a run; what went well or badly comes last."""
    return [
        *_show_findings(finished.findings, width),
        *list_notes(finished, tally, width, verbose),
        *_show_counts(finished, tally, width),
    ]


def list_notes(
    finished: RunFinished, tally: Tally, width: int, verbose: bool = False
) -> list[Line]:
    """What is no failure but limits what the run says."""
    return [
        *_show_skipped(tally, width),
        *_show_set_apart(finished, width),
        *_show_misses(finished, tally, width),
        *_show_unused(finished, tally, width, verbose),
        *_show_partly_compared(tally, width, verbose),
        *_show_noise(finished.noise, width),
    ]


def _show_findings(findings: Sequence[CallFinding], width: int) -> list[Line]:
    if not findings:
        return []
    lines = [Line("Calls that belong to no one case", Tone.HEADING)]
    for finding in rank_calls(findings):
        lines += indent(show_call(finding, width - 2))
    return [*lines, Line("")]


def _show_skipped(tally: Tally, width: int) -> list[Line]:
    return [
        Line(cut(f"skipped: {escape_controls(name)}: {escape_controls(reason)}", width))
        for name, reason in tally.skipped.items()
    ]


def _show_set_apart(finished: RunFinished, width: int) -> list[Line]:
    """Cases that verification found no way to make pass, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in finished.set_apart.items():
        by_reason.setdefault(reason, []).append(name)
    lines = []
    for reason, names in by_reason.items():
        text = f"{count(len(names), 'case')} set apart, not run: {escape_controls(reason)}"
        lines.append(Line(cut(text, width), Tone.WARNING))
        lines += [Line(f"  {line}") for line in fill(map(escape_controls, names), width - 2, ", ")]
    return lines


def _show_misses(finished: RunFinished, tally: Tally, width: int) -> list[Line]:
    lines = []
    total = max(tally.misses.total(), finished.misses)
    if total:
        unanswered = f"{finished.misses:,} of them without an answer"
        text = f"{count(total, 'call')} not as recorded, {unanswered}"
        lines.append(Line(cut(text, width), Tone.WARNING))
    for kind in MissKind:
        if tally.misses[kind]:
            text = f"  {tally.misses[kind]:,} {kind.value}: {MISS_SENTENCES[kind]}"
            lines.append(Line(cut(text, width)))
    unasserted = finished.ledger.unasserted
    if unasserted:
        lines.append(
            Line(f"{count(unasserted, 'call')} answered that no case asserts", Tone.WARNING)
        )
        lines.append(Line(cut(f"  {UNASSERTED}", width)))
    return lines + _show_cached(finished.ledger.cached, width)


def _show_cached(calls: Sequence[str], width: int) -> list[Line]:
    if not calls:
        return []
    ranked = Counter(calls).most_common()
    shown = [text if times == 1 else f"{times:,} × {text}" for text, times in ranked]
    lines = [Line(f"{count(len(calls), 'read')} {CACHED}", Tone.WARNING)]
    lines += [Line(cut(f"  {escape_controls(text)}", width)) for text in shown[:CACHED_LIMIT]]
    if len(shown) > CACHED_LIMIT:
        lines.append(Line(f"  and {len(shown) - CACHED_LIMIT:,} more", Tone.FAINT))
    return lines


def _show_unused(finished: RunFinished, tally: Tally, width: int, verbose: bool) -> list[Line]:
    if not finished.unused_mocks:
        return []
    names = [name for name in finished.ledger.unused if not tally.is_told(name)]
    told = len(finished.ledger.unused) - len(names)
    head = f"{count(finished.unused_mocks, 'mock')} not used"
    if told == finished.unused_mocks:
        return [Line(f"{head}: {TOLD}", Tone.WARNING)]
    shown = names if verbose else names[:UNUSED_LIMIT]
    lines = [Line(f"{head}, {told:,} of them {TOLD}" if told else head)]
    lines += _list_names(shown, width)
    left = finished.unused_mocks - told - len(shown)
    if left > 0:
        lines.append(Line(f"  and {left:,} more{'' if verbose else ' (--verbose)'}", Tone.FAINT))
    return [Line(lines[0].text, Tone.WARNING), *lines[1:]]


def _list_names(names: Sequence[str], width: int) -> list[Line]:
    return [
        Line(cut(f"  {text}", width)) for text in fill(map(escape_controls, names), width - 2, ", ")
    ]


def _show_partly_compared(tally: Tally, width: int, verbose: bool) -> list[Line]:
    if not tally.not_compared:
        return []
    cases = len(tally.partly_compared) + tally.more_partly_compared
    head = f"{count(tally.not_compared, 'value')} not compared, in {count(cases, 'case')}"
    lines = [Line(head, Tone.WARNING)]
    for place, number in tally.uncompared.most_common(UNCOMPARED_LIMIT):
        lines.append(Line(cut(f"  {number:,} × {escape_controls(place)}", width)))
    if verbose:
        parts = [f"{left} in {name}" for name, left in tally.partly_compared.items()]
        lines += _list_names(parts, width)
        if tally.more_partly_compared:
            lines.append(Line(f"  and in {count(tally.more_partly_compared, 'more case')}"))
    return lines


def _show_noise(uses: Sequence[NoiseUse], width: int) -> list[Line]:
    """What kebpf.yml kept from being compared, why, and what of it never came up."""
    if not uses:
        return []
    lines = [Line("not compared because kebpf.yml says so", Tone.WARNING)]
    for use in uses:
        often = f"{use.count:,} ×" if use.count else "never applied:"
        call = f"{use.rule.call} " if use.rule.call else ""
        text = f"  {often} {call}{use.rule.path}: {use.rule.reason or 'no reason is given'}"
        lines.append(Line(cut(escape_controls(text), width)))
    return lines


def _show_counts(finished: RunFinished, tally: Tally, width: int) -> list[Line]:
    good = is_good(finished)
    texts = fill(describe_parts(finished, tally), width)
    first = Line(texts[0], Tone.GOOD if good else Tone.BAD)
    return [first, *map(Line, texts[1:])]


def is_good(finished: RunFinished) -> bool:
    """Whether every case that there was ran and passed, and no call was left over."""
    bad = finished.failed or finished.errored or finished.findings
    return bool(finished.passed) and not bad


def describe_parts(finished: RunFinished, tally: Tally) -> list[str]:
    """The parts of the summary line; what there was none of is not told."""
    has_cases = finished.passed or finished.failed or finished.errored or finished.skipped
    if not has_cases:
        return ["no case ran"]
    parts = [f"{describe_verdicts(finished)} in {finished.seconds:.1f} s"]
    if tally.exact or tally.by_class or tally.not_compared:
        parts.append(
            f"{count(tally.exact, 'value')} compared exactly, {tally.by_class:,} by class, "
            f"{tally.not_compared:,} not compared"
        )
    used = finished.ledger.used
    if used or finished.unused_mocks:
        parts.append(f"{used:,} of {count(used + finished.unused_mocks, 'mock')} used")
    return parts


def describe_verdicts(finished: RunFinished) -> str:
    """``184 passed, 8 failed``."""
    counts = [f"{finished.passed:,} passed", f"{finished.failed:,} failed"]
    if finished.errored:
        counts.append(f"{finished.errored:,} errored")
    if finished.skipped:
        counts.append(f"{finished.skipped:,} skipped")
    return ", ".join(counts)
