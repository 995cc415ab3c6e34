"""A failed case as people read it: calls first, then what they led to, and how to repeat it."""

from __future__ import annotations

from kebpf.replay.events import CaseFinished
from kebpf.report.calls import rank_calls, show_call
from kebpf.report.causes import describe_cause
from kebpf.report.differences import MISMATCH_LIMIT, show_diff, show_mismatches
from kebpf.report.lines import Line, Tone, indent, wrap
from kebpf.report.values import escape_controls

WHOLE_DIFF_FROM = 4
WITHOUT_LIMIT = 100_000


def show_failure(case: CaseFinished, width: int, verbose: bool = False) -> list[Line]:
    """Everything about one failed case; only ``curl`` and ``repeat`` may be wider than asked."""
    limit = WITHOUT_LIMIT if verbose else MISMATCH_LIMIT
    inner = width - 2
    body = _show_head(case, inner)
    for number, call in enumerate(rank_calls(case.calls)):
        is_cause = number == 0 and not case.error
        body += show_call(call, inner, limit, Tone.BAD if is_cause else Tone.WARNING)
    body += _show_response(case, inner, limit, verbose)
    body += _show_commands(case)
    return indent(body)


def _show_head(case: CaseFinished, width: int) -> list[Line]:
    """An error whole; what is said below says itself otherwise."""
    if not case.error and (case.calls or case.mismatches):
        return []
    wrapped = wrap(describe_cause(case), width)
    rest = (case.error or "").strip().splitlines()[1:]
    return [
        *(Line(text, Tone.BAD) for text in wrapped),
        *(Line(escape_controls(line)) for line in rest),
    ]


def _show_response(case: CaseFinished, width: int, limit: int, verbose: bool) -> list[Line]:
    if not case.mismatches:
        return []
    is_symptom = bool(case.calls or case.error)
    lines = [
        Line("and so the response" if case.calls else "response", _tone_of_response(is_symptom)),
        *indent(show_mismatches(case.mismatches, width - 2, limit)),
    ]
    if verbose or not is_symptom:
        lines += indent(_show_whole_diff(case, width - 2, limit))
    return lines


def _tone_of_response(is_symptom: bool) -> Tone:
    return Tone.PLAIN if is_symptom else Tone.BAD


def _show_whole_diff(case: CaseFinished, width: int, limit: int) -> list[Line]:
    """Of two bodies that are trees, if they differ in much."""
    bodies = [view.get("body") for view in (case.expected, case.actual) if isinstance(view, dict)]
    in_body = sum(mismatch.path.startswith("/body/") for mismatch in case.mismatches)
    is_tree = len(bodies) == 2 and all(isinstance(body, dict | list) for body in bodies)
    if in_body < WHOLE_DIFF_FROM or not is_tree:
        return []
    return [Line("the body as a whole:"), *show_diff(bodies[0], bodies[1], width, limit * 3)]


def _show_commands(case: CaseFinished) -> list[Line]:
    """The request as curl and the command that repeats the case, whole, to be copied."""
    lines = []
    if case.curl:
        lines.append(Line(f"request: {escape_controls(case.curl)}", Tone.FAINT))
    if case.repeat:
        lines.append(Line(f"repeat:  {escape_controls(case.repeat)}", Tone.FAINT))
    return lines
