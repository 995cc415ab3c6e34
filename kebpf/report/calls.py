"""Outgoing calls that are not as recorded, in words: which, how often, why, in what they differ."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.replay.events import CallFinding, Mismatch, MissKind
from kebpf.report.differences import MISMATCH_LIMIT, describe_mismatch, show_mismatches
from kebpf.report.lines import Line, Tone, indent, wrap
from kebpf.report.values import cut, escape_controls

# What the application did otherwise explains what it then answered, or did no longer do.
CALL_RANK = {"errored": -1, "changed": 0, "extra": 1, "repeated": 2, "reordered": 3, "missing": 4}
# How a transaction ends follows from what happened in it.
ENDINGS = frozenset({"COMMIT", "ROLLBACK", "ABORT", "END", "EXEC", "DISCARD"})
MISS_SENTENCES = {
    MissKind.NEVER_RECORDED: "no call like it was recorded to this destination",
    MissKind.DIFFERENT: "it was recorded with other values",
    MissKind.USED_UP: "it is made more often than it was recorded",
}
CALL_LINES = 4  # of one call's text


def rank_calls(calls: Sequence[CallFinding]) -> list[CallFinding]:
    """Causes before symptoms; otherwise in the order they were made."""
    return sorted(calls, key=lambda call: (_is_ending(call), CALL_RANK.get(call.kind, 5)))


def _is_ending(call: CallFinding) -> bool:
    words = call.call.split(maxsplit=1)
    return call.kind != "errored" and bool(words) and words[0].upper().rstrip(";") in ENDINGS


def describe_call(call: CallFinding) -> str:
    """``extra call: SELECT … (nearest: …; differs: /parameters/0 recorded 5, came 6)``."""
    reasons = []
    if call.kind == "reordered":
        reasons.append(f"came before {escape_controls(call.nearest or '')}")
    elif call.nearest and call.nearest != call.call:
        reasons.append(f"nearest: {escape_controls(call.nearest)}")
    fields = [one for one in call.fields if one.path != "/operation"]
    if fields:
        more = f" and {len(fields) - 1} more" if len(fields) > 1 else ""
        reasons.append(f"differs: {describe_mismatch(fields[0])}{more}")
    if call.note:
        reasons.append(escape_controls(call.note))
    return title_call(call) + (f" ({'; '.join(reasons)})" if reasons else "")


def title_call(call: CallFinding) -> str:
    """``extra calls: 11 × SELECT … (N+1? recorded once, now 12 times)``."""
    text = escape_controls(call.call)
    if call.kind == "repeated":
        return f"repeated call: {text}, {_times(call.made or call.count + 1)} {_compare(call)}"
    if call.count == 1:
        return f"{call.kind} call: {text}"
    return f"{call.kind} calls: {call.count:,} × {text} {_compare(call)}".rstrip()


def _compare(call: CallFinding) -> str:
    """How often it was recorded, and what more often than once looks like."""
    if call.recorded is None:
        return ""
    recorded = f"recorded {_times(call.recorded)}" if call.recorded else "never recorded"
    is_loop = call.is_read and call.recorded and call.count > 1
    if call.kind == "repeated":
        return f"instead of {_times(call.recorded)}" + (" (N+1?)" if is_loop else "")
    return f"(N+1? {recorded}, now {_times(call.made or 0)})" if is_loop else f"({recorded})"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def show_call(
    call: CallFinding, width: int, limit: int = MISMATCH_LIMIT, tone: Tone = Tone.WARNING
) -> list[Line]:
    """An outgoing call that is not as recorded, why, and in which parts it differs."""
    head = wrap(title_call(call), width, CALL_LINES)
    inner = width - 2
    body = [Line(cut(f"e.g. {escape_controls(text)}", inner)) for text in call.examples]
    body += [Line(text) for text in wrap(describe_place(call), inner)]
    if call.nearest and call.nearest != call.call:
        label = "came before" if call.kind == "reordered" else "nearest"
        body.append(Line(cut(f"{label}: {escape_controls(call.nearest)}", inner)))
    fields = [field for field in call.fields if not _is_shown(field, call, inner)]
    body += show_mismatches(fields, inner, limit)
    return [*(Line(text, tone) for text in head), *indent(body)]


def describe_place(call: CallFinding) -> str:
    """Where a call went, and why no recorded one answered it."""
    parts = [f"to {call.destination} ({call.protocol})"]
    if call.miss is MissKind.USED_UP and call.note:
        parts.append(f"{call.miss.value}: {escape_controls(call.note)}")
    elif call.miss is not None:
        parts.append(f"{call.miss.value}: {MISS_SENTENCES[call.miss]}")
    elif call.note:
        parts.append(escape_controls(call.note))
    return "; ".join(parts)


def _is_shown(field: Mismatch, call: CallFinding, width: int) -> bool:
    """Whether the lines of the call and its nearest already show this difference whole."""
    fits = len(call.call) <= width and len(f"nearest: {call.nearest}") <= width
    return fits and field.path == "/operation" and call.nearest is not None
