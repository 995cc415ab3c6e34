"""A failed case as people read it: its cause first, then calls, response, and how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.replay.events import CallFinding, CaseFinished, Mismatch, MissKind, Verdict
from kebpf.report.differences import (
    MISMATCH_LIMIT,
    describe_mismatch,
    show_diff,
    show_mismatches,
)
from kebpf.report.lines import Line, Tone, indent
from kebpf.report.values import cut, escape_controls

# What the application did otherwise explains what it then answered, or did no longer do.
CALL_RANK = {"errored": -1, "changed": 0, "extra": 1, "repeated": 2, "missing": 3}
MISS_SENTENCES = {
    MissKind.NEVER_RECORDED: "no call like it was recorded to this destination",
    MissKind.DIFFERENT: "it was recorded with other values",
    MissKind.USED_UP: "it is made more often than it was recorded",
}
WHOLE_DIFF_FROM = 4
WITHOUT_LIMIT = 100_000


def describe_cause(case: CaseFinished) -> str:
    """The cause of a failure in one line: an error, else a call, else what the response says."""
    if case.error:
        return escape_controls(case.error.strip().splitlines()[0] if case.error.strip() else "")
    if case.calls:
        return describe_call(rank_calls(case.calls)[0])
    if case.mismatches:
        ranked = sorted(case.mismatches, key=lambda mismatch: mismatch.path != "/status")
        return describe_mismatch(ranked[0])
    return "no reason was given"


def rank_calls(calls: Sequence[CallFinding]) -> list[CallFinding]:
    """Causes before symptoms; otherwise in the order they were made."""
    return sorted(calls, key=lambda call: CALL_RANK.get(call.kind, len(CALL_RANK)))


def describe_call(call: CallFinding) -> str:
    """``extra call: SELECT … (nearest: …)``."""
    text = f"{call.kind} call: {escape_controls(call.call)}"
    return f"{text} (nearest: {escape_controls(call.nearest)})" if call.nearest else text


def rank_failures(cases: Sequence[CaseFinished]) -> list[CaseFinished]:
    """Errors, then cases with findings in their calls, then the rest; equal causes together."""
    first_with_cause: dict[str, int] = {}
    for at, case in enumerate(cases):
        first_with_cause.setdefault(describe_cause(case), at)
    return sorted(
        cases,
        key=lambda case: (
            case.verdict is not Verdict.ERRORED,
            not case.calls,
            first_with_cause[describe_cause(case)],
        ),
    )


def show_failure(case: CaseFinished, width: int, verbose: bool = False) -> list[Line]:
    """Everything about one failed case; only ``curl`` and ``repeat`` may be wider than asked."""
    limit = WITHOUT_LIMIT if verbose else MISMATCH_LIMIT
    inner = width - 2
    body = [Line(text) for text in _error_lines(case)]
    for call in rank_calls(case.calls):
        body += show_call(call, inner, limit)
    if case.mismatches:
        body.append(Line("response"))
        body += indent(show_mismatches(case.mismatches, inner - 2, limit))
        body += indent(_show_whole_diff(case, inner - 2, limit))
    body += _show_commands(case)
    return indent(body)


def _error_lines(case: CaseFinished) -> list[str]:
    lines = (case.error or "").strip().splitlines()
    return [escape_controls(line) for line in lines[1:]]


def _show_whole_diff(case: CaseFinished, width: int, limit: int) -> list[Line]:
    if len(case.mismatches) < WHOLE_DIFF_FROM or case.expected is None or case.actual is None:
        return []
    return [Line("as a whole:"), *show_diff(case.expected, case.actual, width, limit * 3)]


def _show_commands(case: CaseFinished) -> list[Line]:
    """The request as curl and the command that repeats the case, whole, to be copied."""
    lines = []
    if case.curl:
        lines.append(Line(f"request: {escape_controls(case.curl)}", Tone.FAINT))
    if case.repeat:
        lines.append(Line(f"repeat:  {escape_controls(case.repeat)}", Tone.FAINT))
    return lines


def show_call(call: CallFinding, width: int, limit: int = MISMATCH_LIMIT) -> list[Line]:
    """An outgoing call that is not as recorded, why, and in which parts it differs."""
    head = f"{call.kind} call to {call.destination} ({call.protocol})"
    body = [Line(cut(escape_controls(call.call), width - 2))]
    if call.miss is not None:
        body.append(Line(f"{call.miss.value}: {MISS_SENTENCES[call.miss]}"))
    if call.nearest:
        body.append(Line(cut(f"nearest: {escape_controls(call.nearest)}", width - 2)))
    fields = [field for field in call.fields if not _is_shown(field, call, width - 2)]
    body += show_mismatches(fields, width - 2, limit)
    return [Line(head, Tone.WARNING), *indent(body)]


def _is_shown(field: Mismatch, call: CallFinding, width: int) -> bool:
    """Whether the lines of the call and its nearest already show this difference whole."""
    fits = len(call.call) <= width and len(f"nearest: {call.nearest}") <= width
    return fits and field.path == "/operation" and call.nearest is not None
