"""The calls of one case over time: when each was recorded, and when it came now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kebpf.replay.events import CallTiming, CaseFinished
from kebpf.report.html.markup import Html, escape_text, make
from kebpf.report.lines import count

MOST_CALLS = 60  # of one case
MOST_TEXT = 200  # characters of a call
LEAST_WIDTH = 0.7  # of a bar, in per cent


def show_waterfall(case: CaseFinished) -> Html:
    """One row for the response and one a call; empty if no times are known."""
    if case.answered_seconds is None and not case.timings:
        return Html("")
    scale = _find_scale(case)
    response = CallTiming("response", "", "", None, 0.0, 0.0, case.recorded_seconds)
    rows = [_show_row(response, scale, "response", case.answered_seconds)]
    calls = list(_pair_changed(case))
    rows += [_show_row(one, scale, kind) for one, kind in calls[:MOST_CALLS]]
    left = len(calls) - MOST_CALLS
    more = make("p", f"and {count(left, 'more call')}", class_="faint") if left > 0 else ""
    keys = make(
        "p",
        make("i", "", class_="key was"),
        "recorded ",
        make("i", "", class_="key now"),
        f"now; the whole width is {show_ms(scale)}",
        class_="faint",
    )
    return make("div", make("table", *rows, class_="waterfall"), more, keys)


def show_ms(seconds: float) -> str:
    """``0.4 ms``, ``12 ms``, ``1.3 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


def _find_scale(case: CaseFinished) -> float:
    ends = [case.recorded_seconds or 0.0, case.answered_seconds or 0.0]
    for one in case.timings:
        ends.append(one.at or 0.0)
        ends.append((one.recorded_at or 0.0) + (one.recorded_seconds or 0.0))
    return max(*ends, 0.001)


def _pair_changed(case: CaseFinished) -> Iterator[tuple[CallTiming, str]]:
    """The calls with what about them is not as recorded, in a word or two.

    A changed call and the recorded one that it was made in place of are one.
    """
    changed = {call.mock: call for call in case.calls if call.kind == "changed" and call.mock}
    missing = {call.mock for call in case.calls if call.kind == "missing"}
    kinds = {call.call: call.kind for call in reversed(case.calls)}
    due = {one.mock: one for one in case.timings if one.mock in changed and one.at is None}
    pairs = {changed[mock].call: one for mock, one in due.items()}
    made = {one.call for one in case.timings if one.mock is None}
    for one in case.timings:
        if one.mock in due and changed[one.mock].call in made:
            continue  # its pair says both
        if one.mock is None:
            old = pairs.pop(one.call, None)
            at, took = (old.recorded_at, old.recorded_seconds) if old else (None, None)
            both = replace(one, recorded_at=at, recorded_seconds=took)
            yield both, kinds.get(one.call, "not of this case")
        elif one.at is None:
            yield one, "missing" if one.mock in missing else "left out"
        else:
            yield one, ""


def _show_row(timing: CallTiming, scale: float, kind: str, took: float | None = None) -> Html:
    bars = []
    if timing.recorded_at is not None and timing.recorded_seconds is not None:
        bars.append(_make_bar("was", timing.recorded_at, timing.recorded_seconds, scale))
    if timing.at is not None and not (kind == "response" and took is None):
        bars.append(_make_bar("now", timing.at, took or 0.0, scale))
    place = f"{timing.protocol} at {timing.destination}" if timing.protocol else ""
    drawing = make(
        "svg", *bars, viewBox="0 0 100 14", preserveAspectRatio="none", aria_hidden="true"
    )
    text = make("code", _cut(timing.call), title=place or False)
    label = [make("b", kind, class_="kind"), " "] if kind and kind != "response" else []
    return make(
        "tr",
        make("td", *label, text),
        make("td", drawing),
        make("td", _tell(timing, took, kind)),
        class_="wrong" if kind not in ("", "response") else False,
    )


def _cut(text: str) -> Html:
    return escape_text(text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…")


def _make_bar(kind: str, start: float, length: float, scale: float) -> Html:
    left = min(max(100 * start / scale, 0.0), 100 - LEAST_WIDTH)
    width = min(max(100 * length / scale, LEAST_WIDTH), 100 - left)
    top = "1" if kind == "was" else "8"
    return make("rect", x=f"{left:.2f}", y=top, width=f"{width:.2f}", height="5", class_=kind)


def _tell(timing: CallTiming, took: float | None, kind: str) -> str:
    if kind == "response":
        was = show_ms(timing.recorded_seconds) if timing.recorded_seconds is not None else "?"
        return f"took {was}, now {show_ms(took)}" if took is not None else f"took {was}"
    was = f"at {show_ms(timing.recorded_at)}" if timing.recorded_at is not None else ""
    now = f"now {show_ms(timing.at)}" if timing.at is not None else "not now"
    return ", ".join(filter(None, [was, now]))
