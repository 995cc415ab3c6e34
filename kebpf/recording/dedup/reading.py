"""Reads the rules for requests to leave out, as a configuration holds them."""

from __future__ import annotations

from typing import Any

from kebpf.recording.dedup.leaving import LeaveOut

_EXPECTED = "a list of paths such as /health or GET /x/*, or of entries: path, method, user-agent"
_KEYS = ("path", "method", "user-agent")


def read_leave_out(value: Any) -> list[LeaveOut]:
    """Raises ``ValueError``, whose text says what the value has to be."""
    if not isinstance(value, list):
        raise ValueError(_EXPECTED)
    return [_read_entry(entry) for entry in value]


def _read_entry(entry: Any) -> LeaveOut:
    fields = entry
    if isinstance(entry, str):
        method, _, path = entry.rpartition(" ")
        fields = {"path": path.strip()} | ({"method": method.strip()} if method else {})
    if not isinstance(fields, dict) or not fields:
        raise ValueError(_EXPECTED)
    if not all(isinstance(text, str) and text for text in fields.values()):
        raise ValueError(_EXPECTED)
    unknown = set(fields).difference(_KEYS)
    if unknown:
        raise ValueError(f"{_EXPECTED}; {min(map(str, unknown))} is no key of an entry")
    if not fields.get("path", "/").startswith(("/", "*")):
        raise ValueError(_EXPECTED)
    return LeaveOut(**{key.replace("-", "_"): text for key, text in fields.items()})
