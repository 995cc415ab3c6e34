"""The agent's status in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Read = Callable[[dict[str, Any]], float]

_TARGET: tuple[tuple[str, str, str, Read], ...] = (
    (
        "up",
        "gauge",
        "Whether a process of the target is recorded.",
        lambda t: t["state"] == "recording",
    ),
    ("processes", "gauge", "Processes watched.", lambda t: len(t["watched"])),
    ("requests_total", "counter", "Requests seen.", lambda t: t["requests"]),
    ("unique_requests", "gauge", "Shapes of requests, by set.", lambda t: t["unique"]),
    ("test_cases", "gauge", "Test cases kept since the agent began.", lambda t: t["test_cases"]),
    ("mocks", "gauge", "Calls kept as mocks since the agent began.", lambda t: t["mocks"]),
    ("captured_bytes_total", "counter", "Bytes captured.", lambda t: t["captured_bytes"]),
    ("lost_events_total", "counter", "Events that found no room.", lambda t: t["lost_events"]),
    ("lost_bytes_total", "counter", "Bytes known to be missing.", lambda t: t["lost_bytes"]),
    ("programs_followed_total", "counter", "Programs found.", lambda t: t["programs_followed"]),
    ("sets_total", "counter", "Test sets finished.", lambda t: t["sets"]),
    ("failures_total", "counter", "Recorder processes that failed.", lambda t: t["failures"]),
    (
        "longest_follow_seconds",
        "gauge",
        "Longest time from a program's beginning until it was watched.",
        lambda t: t["longest_follow_seconds"],
    ),
)
_AGENT: tuple[tuple[str, str, str, Read], ...] = (
    ("start_time_seconds", "gauge", "When the agent began.", lambda a: a["started"]),
    ("disk_bytes", "gauge", "What lies in its folder.", lambda a: a["disk_bytes"]),
    ("memory_bytes", "gauge", "Memory of all its processes.", lambda a: a["memory_bytes"]),
    (
        "config_refused",
        "gauge",
        "Whether the last reload was refused.",
        lambda a: bool(a["config_error"]),
    ),
)


def write_metrics(status: dict[str, Any]) -> str:
    """From what `describe_agent` gives."""
    return "".join(f"{line}\n" for line in _list_lines(status))


def _list_lines(status: dict[str, Any]) -> Iterator[str]:
    for name, kind, text, read in _AGENT:
        yield from _head(f"kebpf_agent_{name}", kind, text)
        yield f"kebpf_agent_{name} {_number(read(status))}"
    for name, kind, text, read in _TARGET:
        yield from _head(f"kebpf_target_{name}", kind, text)
        for target in status["targets"]:
            label = _escape(str(target["name"]))
            yield f'kebpf_target_{name}{{target="{label}"}} {_number(read(target))}'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
