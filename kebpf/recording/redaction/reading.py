"""Reads what to redact, as a configuration says it."""

from __future__ import annotations

import re
from typing import Any

from kebpf.recording.redaction.rules import Rules

_KEYS = ("names", "patterns", "keep")
_EXPECTED = "true, false, or lists of texts under names, patterns and keep"


def read_redaction(value: Any) -> Rules | None:
    """``None``: nothing is redacted.  Raises ``ValueError``: its text says what it has to be."""
    if isinstance(value, bool):
        return Rules() if value else None
    if not isinstance(value, dict) or set(value).difference(_KEYS):
        raise ValueError(_EXPECTED)
    lists = {key: [one] if isinstance(one, str) else one for key, one in value.items()}
    for texts in lists.values():
        if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
            raise ValueError(_EXPECTED)
    rules = Rules(**lists)
    try:
        patterns = rules.compile_patterns()
    except re.error as error:
        raise ValueError(f"{_EXPECTED}; a pattern is wrong: {error}") from error
    if any(pattern.match("") for pattern in patterns):
        raise ValueError(f"{_EXPECTED}; a pattern must not match nothing")
    return rules
