"""The differences between two runs as lines of 80 columns and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kebpf.report.lines import Line, Tone, count, wrap
from kebpf.report.rundiff import Change, RunDiff
from kebpf.report.runfile import CaseKey, Entry, RunFile
from kebpf.report.values import cut, escape_controls

WIDTH = 80  # columns
MOST_CASES = 20  # shown of what is no change of a verdict


def show_run_diff(diff: RunDiff, width: int = WIDTH) -> list[Line]:
    """Changes of verdicts first and all of them, then the rest, then one line that sums up."""
    body = [
        *_show_changes("newly failing", diff.failing, Tone.BAD, _cause_after, width),
        *_show_texts("newly, the run as a whole", diff.new_reasons, Tone.BAD, width),
        *_show_texts("newly, calls of no case", _name_calls(diff.new_findings), Tone.BAD, width),
        *_show_changes("newly passing", diff.passing, Tone.GOOD, _cause_before, width),
        *_show_texts(
            "no longer, calls of no case", _name_calls(diff.gone_findings), Tone.GOOD, width
        ),
        *_show_changes("verdict changed", diff.otherwise, Tone.WARNING, _verdicts, width),
        *_show_changes("failing for another cause", diff.differently, Tone.WARNING, _both, width),
        *_show_cases("only in the first run", diff.gone, width),
        *_show_cases("only in the second run", diff.new, width),
        *_show_not_reached(diff, width),
        *_show_changes("fewer values compared", diff.weaker, Tone.WARNING, _strength, width, True),
        *_show_changes("more values compared", diff.stronger, Tone.PLAIN, _strength, width, True),
        *_show_changes("much slower", diff.slower, Tone.WARNING, _times, width, True),
    ]
    return [
        *(Line(cut(text, width), Tone.FAINT) for text in _name_runs(diff)),
        *body,
        *([Line("")] if body else []),
        *(Line(text, Tone.HEADING) for text in wrap(_sum_up(diff), width)),
    ]


def _name_runs(diff: RunDiff) -> list[str]:
    pairs = (("first ", diff.before), ("second", diff.after))
    return [f"{name}  {escape_controls(run.path)}: {_describe_run(run)}" for name, run in pairs]


def _describe_run(run: RunFile) -> str:
    verdicts = [str(event["verdict"]) for event in run.cases.values()]
    parts = [f"{verdicts.count(name):,} {name}" for name in dict.fromkeys(sorted(verdicts))]
    text = ", ".join(parts) or "no case"
    if run.finished is None:
        return f"{text}; cut short: {len(run.cases):,} of {count(run.planned, 'case')}"
    return text if run.is_whole else f"{text}; ended after {len(run.cases):,} of {run.planned:,}"


def _show_changes(
    title: str,
    changes: Sequence[Change],
    tone: Tone,
    describe: Callable[[Change], list[str]],
    width: int,
    is_cut: bool = False,
) -> list[Line]:
    shown = changes[:MOST_CASES] if is_cut else changes
    lines = _head(title, len(changes), tone)
    for change in shown:
        lines.append(_show_case(change.after, width))
        lines += [Line(text) for part in describe(change) for text in _indent(part, width)]
    return lines + _show_rest(len(changes) - len(shown))


def _show_rest(left: int) -> list[Line]:
    return [Line(f"  and {count(left, 'more case')}", Tone.FAINT)] if left > 0 else []


def _show_cases(title: str, events: Sequence[Entry], width: int) -> list[Line]:
    lines = _head(title, len(events), Tone.WARNING)
    for event in events[:MOST_CASES]:
        line = _show_case(event, width - 9)
        lines.append(Line(f"{line.text}  {event['verdict']}"))
    return lines + _show_rest(len(events) - MOST_CASES)


def _show_texts(title: str, texts: Sequence[str], tone: Tone, width: int) -> list[Line]:
    lines = _head(title, len(texts), tone)
    return lines + [Line(line) for text in texts for line in _indent(text, width, 2)]


def _show_not_reached(diff: RunDiff, width: int) -> list[Line]:
    if not diff.not_reached:
        return []
    which = "first" if not diff.before.is_whole else "second"
    text = (
        f"the {which} run ended early: nothing can be said of "
        f"{count(len(diff.not_reached), 'case')} that it did not come to"
    )
    return [Line(""), *(Line(line, Tone.WARNING) for line in wrap(text, width))]


def _head(title: str, number: int, tone: Tone) -> list[Line]:
    return [Line(""), Line(f"{title}: {number:,}", tone)] if number else []


def _show_case(event: Entry, width: int) -> Line:
    text = f"  {event['case']}  {event.get('request', '')}".rstrip()
    return Line(cut(escape_controls(text), width))


def _indent(text: str, width: int, depth: int = 4) -> list[str]:
    return [" " * depth + line for line in wrap(escape_controls(text), width - depth, 3)]


def _cause_after(change: Change) -> list[str]:
    return [_cause(change.after)]


def _cause_before(change: Change) -> list[str]:
    return [f"was: {_cause(change.before)}"]


def _both(change: Change) -> list[str]:
    return [f"was: {_cause(change.before)}", f"now: {_cause(change.after)}"]


def _cause(event: Entry) -> str:
    return str(event.get("cause") or event.get("error") or event["verdict"])


def _verdicts(change: Change) -> list[str]:
    text = f"{change.before['verdict']} → {change.after['verdict']}"
    reason = change.after.get("error") or change.before.get("error")
    return [f"{text}: {reason}" if reason else text]


def _strength(change: Change) -> list[str]:
    old, new = change.before, change.after
    names = (("exactly", "exact"), ("by class", "by_class"), ("not compared", "not_compared"))
    return [
        ", ".join(
            f"{name} {old.get(key, 0):,} → {new.get(key, 0):,}"
            for name, key in names
            if old.get(key) != new.get(key)
        )
    ]


def _times(change: Change) -> list[str]:
    return [f"{change.before['seconds']:.2f} s → {change.after['seconds']:.2f} s"]


def _name_calls(findings: Iterable[Entry]) -> list[str]:
    return [f"{call.get('kind')} call: {call.get('call')}" for call in findings]


def _sum_up(diff: RunDiff) -> str:
    verdict = "the verdicts are the same" if diff.has_same_verdicts else "the verdicts differ"
    still = len(diff.as_before)
    parts = [
        f"{diff.same:,} alike",
        *([f"{still:,} failing as before"] if still else []),
        *([f"{len(diff.differently):,} failing for another cause"] if diff.differently else []),
    ]
    return f"{verdict}: {', '.join(parts)}"


def run_diff_to_json(diff: RunDiff) -> str:
    """One object with names of cases; ``before`` and ``after`` say what the two runs were."""
    document: dict[str, Any] = {
        "same_verdicts": diff.has_same_verdicts,
        "before": _run_to_json(diff.before),
        "after": _run_to_json(diff.after),
        "newly_failing": [_change_to_json(one) for one in diff.failing],
        "newly_passing": [_change_to_json(one) for one in diff.passing],
        "verdict_changed": [_change_to_json(one) for one in diff.otherwise],
        "failing_differently": [_change_to_json(one) for one in diff.differently],
        "failing_as_before": [_name_case(one.key) for one in diff.as_before],
        "gone": [_lone_to_json(event) for event in diff.gone],
        "new": [_lone_to_json(event) for event in diff.new],
        "not_reached": [_name_case(key) for key in diff.not_reached],
        "weaker": [_strength_to_json(one) for one in diff.weaker],
        "stronger": [_strength_to_json(one) for one in diff.stronger],
        "slower": [
            _name_case(one.key)
            | {"before": one.before["seconds"], "after": one.after["seconds"]}
            for one in diff.slower
        ],
        "new_findings": _name_calls(diff.new_findings),
        "gone_findings": _name_calls(diff.gone_findings),
        "new_reasons": diff.new_reasons,
        "same": diff.same,
    }  # fmt: skip
    return json.dumps(document)


def _run_to_json(run: RunFile) -> Entry:
    return {"file": run.path, "cases": len(run.cases), "is_whole": run.is_whole}


def _name_case(key: CaseKey) -> Entry:
    return {"test_set": key[0], "case": key[1]}


def _change_to_json(change: Change) -> Entry:
    both = (("before", change.before), ("after", change.after))
    return _name_case(change.key) | {
        name: {
            "verdict": event["verdict"],
            "cause": event.get("cause") or event.get("error"),
        }
        for name, event in both
    }


def _lone_to_json(event: Entry) -> Entry:
    key = str(event["test_set"]), str(event["case"])
    return _name_case(key) | {"verdict": event["verdict"]}


def _strength_to_json(change: Change) -> Entry:
    keys = ("exact", "by_class", "not_compared")
    both = (("before", change.before), ("after", change.after))
    return _name_case(change.key) | {
        name: {key: event.get(key, 0) for key in keys} for name, event in both
    }
