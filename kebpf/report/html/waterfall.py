"""The calls of one case over time: when each was recorded, and when it came now."""

from __future__ import annotations

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
    rows += [_show_row(one, scale, _kind_of(one, case)) for one in case.timings[:MOST_CALLS]]
    left = len(case.timings) - MOST_CALLS
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


def _kind_of(timing: CallTiming, case: CaseFinished) -> str:
    """What about a call is not as recorded, in a word or two."""
    if timing.mock is None:
        found = (call.kind for call in case.calls if call.call == timing.call)
        return next(found, "not of this case")
    if timing.at is None:
        kinds = {call.mock: call.kind for call in case.calls}
        kind = kinds.get(timing.mock, "left out")
        return kind if kind in ("missing", "left out") else "made otherwise"
    return ""


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
