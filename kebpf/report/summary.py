"""What a run comes to: counts, how strongly values were compared, and the ledger of mocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kebpf.replay.events import CallFinding, CaseFinished, MissKind, RunFinished, Verdict
from kebpf.replay.noise import NoiseUse
from kebpf.report.calls import MISS_SENTENCES, rank_calls, show_call
from kebpf.report.lines import Line, Tone, count, fill, indent
from kebpf.report.values import cut, escape_controls

UNUSED_LIMIT = 10
CACHED_LIMIT = 5
CACHED = "made or left out by a cache in another state than when recorded"
UNASSERTED = "requests that were left out of the recording may have made them there"


@dataclass(slots=True)
class Tally:
    """Adds up what the cases say: compared values, misses by kind, who left values out."""

    exact: int = 0
    by_class: int = 0
    not_compared: int = 0
    misses: Counter[MissKind] = field(default_factory=Counter)
    partly_compared: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, case: CaseFinished) -> None:
        self.exact += case.exact
        self.by_class += case.by_class
        self.not_compared += case.not_compared
        if case.not_compared:
            self.partly_compared[case.case] = case.not_compared
        if case.verdict is Verdict.SKIPPED:
            self.skipped[case.case] = case.error or "no reason was given"
        self.add_misses(case.calls)

    def add_misses(self, findings: Sequence[CallFinding]) -> None:
        for finding in findings:
            if finding.miss is not None:
                self.misses[finding.miss] += finding.count


def show_summary(
    finished: RunFinished, tally: Tally, width: int, verbose: bool = False
) -> list[Line]:
    """The lines at the end of a run; what went well or badly comes last."""
    return [
        *_show_findings(finished.findings, width),
        *_show_skipped(tally, width),
        *_show_set_apart(finished, width),
        *_show_misses(finished, tally, width),
        *_show_unused(finished, width, verbose),
        *_show_partly_compared(tally, width),
        *_show_noise(finished.noise, width),
        *_show_counts(finished, tally, width),
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


def _show_unused(finished: RunFinished, width: int, verbose: bool) -> list[Line]:
    names = finished.ledger.unused
    if not finished.unused_mocks:
        return []
    shown = names if verbose else names[:UNUSED_LIMIT]
    lines = [Line(f"{count(finished.unused_mocks, 'mock')} not used", Tone.WARNING)]
    lines += [Line(cut(f"  {escape_controls(name)}", width)) for name in shown]
    left = finished.unused_mocks - len(shown)
    if left > 0:
        lines.append(Line(f"  and {left:,} more (--verbose)", Tone.FAINT))
    return lines


def _show_partly_compared(tally: Tally, width: int) -> list[Line]:
    if not tally.partly_compared:
        return []
    parts = [f"{left} in {escape_controls(name)}" for name, left in tally.partly_compared.items()]
    return [
        Line("values not compared", Tone.WARNING),
        *(Line(f"  {text}") for text in fill(parts, width - 2, ", ")),
    ]


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
    texts = fill(describe_counts(finished, tally), width)
    return [Line(text, Tone.GOOD if good else Tone.BAD) for text in texts]


def is_good(finished: RunFinished) -> bool:
    """Whether every case that there was ran and passed, and no call was left over."""
    bad = finished.failed or finished.errored or finished.findings
    return bool(finished.passed) and not bad


def describe_counts(finished: RunFinished, tally: Tally) -> list[str]:
    """The parts of the summary line."""
    counts = [f"{finished.passed:,} passed", f"{finished.failed:,} failed"]
    if finished.errored:
        counts.append(f"{finished.errored:,} errored")
    if finished.skipped:
        counts.append(f"{finished.skipped:,} skipped")
    used = finished.ledger.used
    return [
        f"{', '.join(counts)} in {finished.seconds:.1f} s",
        f"{count(tally.exact, 'value')} compared exactly, {tally.by_class:,} by class, "
        f"{tally.not_compared:,} not compared",
        f"{used:,} of {count(used + finished.unused_mocks, 'mock')} used",
    ]
