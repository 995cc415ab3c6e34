"""Run events as JSON lines, one object an event, each flushed as it happens."""

from __future__ import annotations

import enum
import json
import re
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

from kebpf.recording.exact import pack_exact
from kebpf.replay.events import CaseFinished, Exact, RunEvent, RunFinished, Verdict
from kebpf.report.causes import Grouping, describe_cause
from kebpf.report.values import to_json

FAILING = (Verdict.FAILED, Verdict.ERRORED)
_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class JsonLinesReporter:
    """Writes ``{"event": "case_finished", …}`` lines; an interrupted run leaves whole lines.

    A case that failed has a ``cause``; the last line has the ``causes``, each with its cases.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._failures = Grouping[str]()

    def handle(self, event: RunEvent) -> None:
        document = event_to_json(event)
        if isinstance(event, CaseFinished) and event.verdict in FAILING:
            document["cause"] = describe_cause(event)
            self._failures.group_of(event).cases.append(event.case)
        elif isinstance(event, RunFinished):
            document["causes"] = [
                {"cause": group.cause, "cases": group.cases} for group in self._failures.ranked()
            ]
        self._out.write(json.dumps(document, allow_nan=False) + "\n")
        self._out.flush()

    def close(self) -> None:
        self._out.flush()


def event_to_json(event: RunEvent) -> dict[str, Any]:
    """The event as an object: its name in snake case, then its fields."""
    return {"event": name_event(event), **_fields_to_json(event)}


def name_event(event: RunEvent) -> str:
    """``CaseFinished`` → ``case_finished``."""
    return _WORD_START.sub("_", type(event).__name__).lower()


def _fields_to_json(value: Any) -> dict[str, Any]:
    return {field.name: _convert(getattr(value, field.name)) for field in fields(value)}


def _convert(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Exact):
        return pack_exact(value.tree)
    if is_dataclass(value):
        return _fields_to_json(value)
    if isinstance(value, list):
        return [_convert(item) for item in value]
    return to_json(value)
