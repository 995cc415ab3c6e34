"""Finds how long the program says its work took: numbers that are new each time, by header.

Only headers whose name says so (W3C Server Timing; what Rails, Express, FastAPI's documentation
and Envoy send): in a body a small number may be anything.
"""

from __future__ import annotations

import re
from typing import Any

from kebpf.recording.templates import write_template

MEASURED = frozenset(
    {
        "x-runtime", "x-process-time", "x-response-time", "x-request-duration", "x-render-time",
        "x-envoy-upstream-service-time", "x-elapsed-time", "x-execution-time",
    }
)  # fmt: skip
_ALONE = re.compile(r"(\d{1,9}(?:\.\d+)?)\s*(?:s|ms|us|µs|ns)?", re.ASCII)
_TIMED = re.compile(r";\s*dur\s*=\s*(\d{1,9}(?:\.\d+)?)(?![\w.])", re.ASCII | re.IGNORECASE)


def find_durations(view: Any) -> dict[str, str]:
    """JSON pointer → template of each measuring header of a response."""
    headers = view.get("headers") if isinstance(view, dict) else None
    templates = {}
    for index, (name, value) in enumerate(headers or ()):
        spans = find_spans(str(name).lower(), value) if isinstance(value, str) else []
        if spans:
            places = [(start, end, _class_of(value[start:end])) for start, end in spans]
            templates[f"/headers/{index}/1"] = write_template(value, places)
    return templates


def find_spans(name: str, value: str) -> list[tuple[int, int]]:
    """Where the durations stand in the value of a header; its name in lower case."""
    if name == "server-timing":
        return [match.span(1) for match in _TIMED.finditer(value)]
    match = _ALONE.fullmatch(value) if name in MEASURED else None
    return [match.span(1)] if match else []


def _class_of(number: str) -> str:
    return "decimal:1-9" if "." in number else "integer:1-9"
