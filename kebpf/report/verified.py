"""What a verification did: its runs, each class with its evidence, what was set apart, the end."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from kebpf.recording.revision import Finding, describe_finding
from kebpf.replay.verifier import CaseSetApart, RunDone, Verified, VerifyEvent
from kebpf.report.lines import Line, Tone, count, fill
from kebpf.report.values import cut, escape_controls

WIDTH = 80  # columns


def show_event(event: VerifyEvent, width: int = WIDTH) -> list[Line]:
    """The lines of one event."""
    match event:
        case RunDone():
            return [_show_run(event, width)]
        case Finding():
            return _show_finding(event, width)
        case CaseSetApart():
            return show_set_apart(event.case, event.reason, width)
        case Verified():
            return _show_end(event, width)


def _show_run(run: RunDone, width: int) -> Line:
    order = "recorded order" if run.seed is None else f"shuffled, seed {run.seed}"
    text = f"run {run.number:<3} {order:<26} {run.passed:,} passed, {run.failed:,} failed"
    tone = Tone.WARNING if run.failed else Tone.PLAIN
    return Line(cut(f"{text}  {run.seconds:.1f} s", width), tone)


def _show_finding(finding: Finding, width: int) -> list[Line]:
    place = finding.place
    where = f"{place.owner} {place.path}" if place.is_call else place.path
    evidence = (
        f"{count(finding.values, 'value')} seen, {count(finding.runs, 'run')} differed: "
        f"{', '.join(finding.examples)}"
    )
    return [
        Line(cut(f"generalised {finding.case or 'a call of no one case'}", width), Tone.HEADING),
        *_wrap(where, width),
        *_wrap(f"{finding.before or 'exact'} → {finding.template}", width),
        *_wrap(evidence, width),
    ]


def show_set_apart(case: str, reason: str, width: int) -> list[Line]:
    """A case that is kept but not run, and why."""
    head = Line(cut(f"set apart {escape_controls(case)}", width), Tone.HEADING)
    return [head, *_wrap(reason, width)]


def _wrap(text: str, width: int) -> list[Line]:
    return [
        Line(line)
        for line in textwrap.wrap(
            escape_controls(text), width, initial_indent="  ", subsequent_indent="    ",
            break_on_hyphens=False, max_lines=4, placeholder=" …",
        )
    ]  # fmt: skip


def _show_end(result: Verified, width: int) -> list[Line]:
    lines = [Line("")]
    for name in result.order_dependent:
        text = f"{name} passes in the recorded order only: it depends on cases before it"
        lines += [Line(line, Tone.WARNING) for line in textwrap.wrap(text, width)]
    for text in result.unresolved:
        wrapped = textwrap.wrap(f"of no one case: {escape_controls(text)}", width, max_lines=3)
        lines += [Line(line, Tone.BAD) for line in wrapped]
    strength = result.strength
    parts = [
        f"{count(result.passed, 'case')} passed after {count(result.runs, 'run')}",
        f"{len(result.generalised):,} generalised",
        f"{len(result.set_apart):,} set apart",
        f"{count(strength.exact, 'value')} exact, {strength.by_class:,} by class, "
        f"{strength.not_compared:,} not compared",
    ]
    tone = Tone.GOOD if is_good(result) else Tone.BAD
    return [*lines, *(Line(line, tone) for line in fill(parts, width))]


def is_good(result: Verified) -> bool:
    """Whether the whole set passes now."""
    return not result.set_apart and not result.unresolved


def verification_object(name: str, runs: Sequence[RunDone], result: Verified) -> dict[str, Any]:
    """The same for programs."""
    strength = result.strength
    return {
        "test_set": name,
        "runs": [
            {
                "run": run.number,
                "round": run.round,
                "seed": run.seed,
                "passed": run.passed,
                "failed": run.failed,
                "seconds": run.seconds,
            }
            for run in runs
        ],
        "passed": result.passed,
        "generalised": [
            {"case": one.case, **describe_finding(one), "examples": list(one.examples)}
            for one in result.generalised
        ],
        "set_apart": result.set_apart,
        "order_dependent": result.order_dependent,
        "unresolved": result.unresolved,
        "strength": {
            "exact": strength.exact,
            "by_class": strength.by_class,
            "not_compared": strength.not_compared,
        },
    }


def to_json_line(document: dict[str, Any]) -> str:
    """One line of ASCII."""
    return json.dumps(document, allow_nan=False)
