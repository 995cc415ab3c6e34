"""All that is told about one case: its line, and below it calls, response, times and commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kebpf.replay.events import CallFinding, CaseFinished, Mismatch, Verdict
from kebpf.report.calls import describe_place, rank_calls, title_call
from kebpf.report.causes import describe_cause, rank_mismatches
from kebpf.report.html.markup import Html, escape_text, join, make, make_code, make_copyable, unfold
from kebpf.report.html.sidebyside import list_lines, mark_difference, show_beside
from kebpf.report.html.waterfall import show_ms, show_waterfall
from kebpf.report.lines import count
from kebpf.report.requests import show_request
from kebpf.report.uncompared import list_uncompared
from kebpf.report.values import cut, cut_pair, escape_controls, pretty, show_value

MOST_VALUE = 600  # characters of a value in a table
MOST_LINES = 8  # of a tree in a table
MOST_TEXT = 4000  # of a call, an error
MOST_CURL = 16_384  # characters of a curl line
MOST_MISMATCHES = 60
MOST_FINDINGS = 30
MOST_CLASSES = 100
MOST_NAME = 200
MARKS = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.ERRORED: "!",
    Verdict.SKIPPED: "–",
}
BODY_MARK = Html("<!--body-->")  # where a script may cut a case in two; escaped in all content


def show_case(case: CaseFinished, *, is_open: bool = False, body: Html | None = None) -> Html:
    """The whole case, to be unfolded; ``body`` in place of its own."""
    inside = show_body(case) if body is None else body
    return make(
        "details",
        _show_line(case),
        BODY_MARK,
        make("div", inside, class_="body"),
        class_=f"case {case.verdict.value}",
        open=is_open,
    )


def _show_line(case: CaseFinished) -> Html:
    verdict = case.verdict.value
    mark = make("b", MARKS[case.verdict], class_="mark", title=verdict)
    return make(
        "summary",
        mark,
        " ",
        make("span", cut(case.case, MOST_NAME), class_="name"),
        " ",
        make("code", show_request(case.request), class_="request"),
        " ",
        make("span", f"{verdict}, {show_ms(case.seconds)}", class_="took"),
    )


def show_body(case: CaseFinished) -> Html:
    """What stands below a case's line."""
    return join(
        (
            *_show_error(case),
            *_show_calls(case),
            *_show_response(case),
            *_show_times(case),
            *_show_values(case),
            *_show_request(case),
            *_show_commands(case),
        )
    )


def show_briefly(case: CaseFinished, why: str) -> Html:
    """What a case has when there is no room for more."""
    cause = make("p", describe_cause(case)) if case.verdict is not Verdict.PASSED else ""
    commands = make_copyable(case.repeat, "command") if case.repeat else ""
    return join((cause, make("p", why, class_="faint"), commands))


def _show_error(case: CaseFinished) -> Iterator[Html]:
    if case.error:
        yield make("pre", cut(case.error.strip(), MOST_TEXT), class_="error")
    elif case.verdict in (Verdict.FAILED, Verdict.ERRORED) and not (case.calls or case.mismatches):
        yield make("p", describe_cause(case), class_="error")


def _show_calls(case: CaseFinished) -> Iterator[Html]:
    if not case.calls:
        return
    yield make("h4", "Outgoing calls that are not as recorded")
    ranked = rank_calls(case.calls)
    yield make("ul", *map(show_finding, ranked[:MOST_FINDINGS]), class_="calls")
    if len(ranked) > MOST_FINDINGS:
        yield make("p", f"and {count(len(ranked) - MOST_FINDINGS, 'more call')}", class_="faint")


def show_finding(call: CallFinding) -> Html:
    """An outgoing call that is not as recorded, as an item of a list."""
    kind, _, text = title_call(call).partition(": ")
    parts = [
        make("b", kind, class_="kind"),
        " ",
        make_code(text, MOST_TEXT),
        make("p", describe_place(call), class_="faint"),
    ]
    parts += [make("p", "e.g. ", make_code(one, MOST_VALUE)) for one in call.examples]
    if call.nearest and call.nearest != call.call:
        label = "came before " if call.kind == "reordered" else "nearest recorded call: "
        parts.append(make("p", label, make_code(call.nearest, MOST_TEXT)))
    if call.fields:
        parts.append(_show_table(call.fields))
    return make("li", *parts)


def _show_response(case: CaseFinished) -> Iterator[Html]:
    if not case.mismatches:
        return
    yield make("h4", "And so the response" if case.calls or case.error else "Response")
    yield _show_table(rank_mismatches(case.mismatches))
    if isinstance(case.expected, dict) and isinstance(case.actual, dict):
        beside = show_beside(case.expected, case.actual, case.mismatches)
        yield unfold("Whole response, recorded and now", beside, kind="whole")


def _show_table(mismatches: Sequence[Mismatch]) -> Html:
    head = make("tr", *(make("th", text, scope="col") for text in ("where", "recorded", "came")))
    rows = [_show_mismatch(one) for one in mismatches[:MOST_MISMATCHES]]
    table = make("table", make("thead", head), make("tbody", *rows), class_="differences")
    left = len(mismatches) - MOST_MISMATCHES
    more = make("p", f"and {count(left, 'more difference')}", class_="faint") if left > 0 else ""
    return make("div", table, more, class_="wide")


def _show_mismatch(one: Mismatch) -> Html:
    path = make_code(one.path or "/", MOST_VALUE)
    where = make("th", path, " (order)" if one.kind == "order" else "", scope="row")
    if one.kind in ("missing", "extra"):
        is_missing = one.kind == "missing"
        text = make_code(_show_value(one.expected if is_missing else one.actual), MOST_VALUE)
        recorded, came = make("td", text, class_="was"), make("td", text, class_="now")
        nothing = make("td", one.kind, class_="faint")
        return make("tr", where, *((recorded, nothing) if is_missing else (nothing, came)))
    texts = _show_value(one.expected), _show_value(one.actual)
    left, right = (escape_text(text) for text in cut_pair(*texts, MOST_VALUE))
    if type(one.expected) is type(one.actual):
        left, right = mark_difference(*cut_pair(*texts, MOST_VALUE))
    return make(
        "tr",
        where,
        make("td", make("code", left), class_="was"),
        make("td", make("code", right), class_="now"),
    )


def _show_value(value: Any) -> str:
    """So that ``1`` and ``"1"`` differ; of a tree the first lines, for all of it stands below."""
    if not isinstance(value, dict | list):
        return show_value(value)
    lines = pretty(value).splitlines()
    return "\n".join([*lines[:MOST_LINES], "…"] if len(lines) > MOST_LINES else lines)


def _show_times(case: CaseFinished) -> Iterator[Html]:
    drawing = show_waterfall(case)
    if drawing:
        calls = count(len(case.timings), "call")
        is_open = case.verdict is not Verdict.PASSED and len(case.timings) > 1
        yield unfold(f"Times of the response and {calls}", drawing, is_open=is_open)


def _show_values(case: CaseFinished) -> Iterator[Html]:
    if not (case.exact or case.by_class or case.not_compared):
        return
    summary = (
        f"{count(case.exact, 'value')} compared exactly, {case.by_class:,} by class, "
        f"{case.not_compared:,} not compared"
    )
    items = [
        make("li", make_code(_name_place(path, case), MOST_VALUE), " ", make_code(name, MOST_VALUE))
        for path, name in list(case.classes.items())[:MOST_CLASSES]
    ]
    parts = []
    if items:
        parts = [make("p", "In the response, compared by class:"), make("ul", *items)]
    if case.not_compared:
        parts.append(make("p", f"Not compared: {'; '.join(list_uncompared(case))}."))
    parts.append(make("p", "All else must be equal in type and value.", class_="faint"))
    yield unfold(summary, *parts)


def _name_place(path: str, case: CaseFinished) -> str:
    """A path of the recorded response as people know it: headers by name."""
    steps = path.split("/")
    headers = case.expected.get("headers") if isinstance(case.expected, dict) else None
    if headers and len(steps) == 4 and steps[1] == "headers" and steps[2].isdigit():
        number = int(steps[2])
        return f"/headers/{headers[number][0]}" if number < len(headers) else path
    return path


def _show_request(case: CaseFinished) -> Iterator[Html]:
    if case.sent is not None:
        lines = "\n".join(cut(line.text, MOST_VALUE) for line in list_lines(case.sent)[:200])
        yield unfold("Request", make("pre", make("code", lines)))


def _show_commands(case: CaseFinished) -> Iterator[Html]:
    if case.curl and len(case.curl) <= MOST_CURL:
        yield make_copyable(case.curl, "as curl")
    elif case.curl:
        text = f"The request as curl is {len(case.curl):,} characters long: too long for this file."
        yield make("p", text, class_="faint")
    if case.repeat:
        yield make_copyable(escape_controls(case.repeat), "command")
