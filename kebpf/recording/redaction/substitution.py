"""What stands for a secret: a value of the same class and length, the same for the same secret."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable

from kebpf.recording.redaction import forms
from kebpf.recording.redaction.permutation import Permutation
from kebpf.recording.redaction.stored import split_stored

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_UUID_KEPT = frozenset((14, 19))  # version and variant
_STAMP_SIZES = (6, 7)  # characters of the time in what itsdangerous signs
_EXPRESS = ("s:", "s%3A")  # cookie-signature's mark of what is signed
_LEAST_SIGNATURE = 16
_ENCODED = re.compile(r"[A-Za-z0-9_+/-]{8,}={0,2}", re.ASCII)

Redact = Callable[[str], str]


class Substitution:
    """``redact`` gives a text that is inside a secret without the secrets in it."""

    def __init__(self, key: bytes, redact: Redact) -> None:
        self._permutation = Permutation(key)
        self._redact = redact

    def replace(self, value: str) -> str:
        """What stands for a value; its form decides, wherever it was found."""
        if "@" in value and forms.is_email(value):
            return self._replace_email(value)
        if forms.is_card(value):
            return self._replace_card(value)
        head, digest = split_stored(value)
        if digest:
            return head + self._permute(digest)
        prefix, rest = forms.split_prefix(value)
        if prefix:
            return prefix + self._permutation.permute(rest, prefix)
        if _UUID.fullmatch(value):
            return self._permutation.permute(value, keep=_UUID_KEPT)
        return self._replace_signed(value) or self._permute(value)

    def _permute(self, text: str) -> str:
        """Of base64 with padding the last character stays: its last bits have to be zero."""
        size = len(text.rstrip("="))
        if size == len(text) or not _ENCODED.fullmatch(text):
            return self._permutation.permute(text)
        return self._permutation.permute(text, keep=frozenset((size - 1,)))

    def _replace_email(self, value: str) -> str:
        """In lower case it stands for the same address in lower case."""
        local, _, domain = value.rpartition("@")
        changed = self._permutation.permute(local, domain.lower())
        if forms.is_example_domain(domain):
            return f"{changed}@{domain}"
        label, ending = forms.split_domain(domain)
        return f"{changed}@{self._permutation.permute(label, domain.lower())}{ending}"

    def _replace_card(self, value: str) -> str:
        kept, place = forms.card_places(value)
        return forms.correct_sum(self._permutation.permute(value, keep=kept), place)

    def is_signed(self, value: str) -> bool:
        """Whether a program can check a value by itself, with a key that nobody else has."""
        return bool(_split_signed(value)[1])

    def list_parts(self, value: str) -> list[str]:
        """The parts of something signed that are secrets by themselves: the number of a session."""
        _, parts = _split_signed(value)
        return [part for part in parts[:-1:2] if not _stays(part) and _load(part) is None]

    def _replace_signed(self, value: str) -> str | None:
        """Of what is signed the signature is the secret: the rest says what it said.

        JSON Web Tokens, and what itsdangerous, Django and Express sign; ``None`` for others.
        """
        mark, parts = _split_signed(value)
        if not parts:
            return None
        said = [part if place % 2 else self._replace_part(part) for place, part in enumerate(parts)]
        return mark + "".join([*said[:-1], self._permutation.permute(parts[-1])])

    def _replace_part(self, part: str) -> str:
        loaded = _load(part)
        if loaded is None:
            return part if _stays(part) else self.replace(part)
        redacted = self._redact(loaded)
        return part if redacted == loaded else _encode(redacted, part)


def _split_signed(value: str) -> tuple[str, list[str]]:
    """A mark, and the parts with what is between them; no parts if it is not signed."""
    mark = next((one for one in _EXPRESS if value.startswith(one)), "")
    parts = re.split(r"([.:])", value[len(mark) :])
    is_readable = any(_load(part) is not None for part in parts[:3:2]) or mark
    is_signed = len(parts) >= 3 and is_readable and len(parts[-1]) >= _LEAST_SIGNATURE
    return mark, parts if is_signed else []


def _stays(part: str) -> bool:
    """A time, a short number, or what is compressed."""
    is_short = len(part) in _STAMP_SIZES or len(part) < _LEAST_SIGNATURE // 2
    return is_short or part.startswith("eJ")


def _load(part: str) -> str | None:
    """The text of a JSON object or list in base64, ``None`` for anything else."""
    if not _ENCODED.fullmatch(part):
        return None
    body = part.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
        is_tree = isinstance(json.loads(text), dict | list)
    except (ValueError, binascii.Error, RecursionError):
        return None
    return text if is_tree else None


def _encode(text: str, model: str) -> str:
    written = base64.b64encode(text.encode()).decode()
    if "+" not in model and "/" not in model:
        written = written.replace("+", "-").replace("/", "_")
    return written if model.endswith("=") else written.rstrip("=")
