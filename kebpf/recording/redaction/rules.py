"""What a project adds to the rules of redaction, as ``kebpf.yml`` says it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_KEY_SIZE = 32  # bytes


@dataclass(slots=True)
class Rules:
    """``names`` of fields that hold secrets, ``patterns`` of secrets, names and patterns to keep.

    ``keep`` are names of fields (``*`` stands for any characters) that are left as they are.
    """

    names: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)

    def as_fields(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def compile_patterns(self) -> list[re.Pattern[str]]:
        """Raises ``re.error``."""
        return [re.compile(pattern) for pattern in self.patterns]

    def keeps(self, name: str) -> bool:
        """Whether a field of this name is left as it is."""
        return _matches(name.lower(), self.keep)


def make_redaction(rules: Rules | None) -> dict[str, Any] | None:
    """What an assembler is told of redaction, with a key that is new and never written.

    It is for one test set; without rules nothing is redacted.
    """
    if rules is None:
        return None
    return {"rules": rules.as_fields(), "key": secrets.token_hex(_KEY_SIZE)}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)
