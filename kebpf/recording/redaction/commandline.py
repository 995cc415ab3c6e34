"""Keeps the secrets of a command line from the screen and the log: each becomes ``***``."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.recording.redaction.assignments import Assignments
from kebpf.recording.redaction.forms import find_forms
from kebpf.recording.redaction.names import Names
from kebpf.recording.redaction.rules import Rules
from kebpf.recording.redaction.spans import RAW, choose_spans, write_spans

MASK = "***"


def hide_secrets(words: Sequence[str], rules: Rules) -> list[str]:
    """``--password x``, ``--api-key=x``, ``postgres://user:x@host``."""
    assignments = Assignments(Names(rules.names), rules)
    hidden: list[str] = []
    before = ""
    for word in words:
        if before.startswith("-") and assignments.judge(before.lstrip("-"), word):
            hidden.append(MASK)
        else:
            found = choose_spans([*assignments.find(word), *find_forms(word)])
            plain = [span._replace(style=RAW) for span in found]
            hidden.append(write_spans(word, plain, lambda _: MASK))
        before = word
    return hidden
