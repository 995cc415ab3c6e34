"""Reads JSON without losing anything that two readers could tell apart (RFC 8259).

Python's ``json`` turns 1.10 into 1.1, rounds long decimals, makes ``1.0 == 1`` and drops all but
the last of duplicate keys.  Here integers are exact, and a number that a plain ``float`` would
blur is a `JsonFloat`, which keeps its text: it still is a ``float`` (so part of a Document and
usable in arithmetic), but equals only a number written the same way.
"""

from __future__ import annotations

import json
from typing import Any

from kebpf.protocols.base import ProtocolError


class JsonFloat(float):
    """A JSON number with the text it was written as; equal only to the same text."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> JsonFloat:
        """Raises ``ValueError`` for what is not a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __eq__(self, other: object) -> bool:
        if isinstance(other, JsonFloat):
            return self.text == other.text
        return isinstance(other, float) and self.text == repr(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return float.__hash__(self)

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.text,)


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises ``ProtocolError`` when it is not JSON or could not be kept whole: duplicate keys, NaN
    and Infinity, lone surrogates, nesting or integers beyond what Python reads.
    """
    try:
        value = json.loads(
            text,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=_refuse_constant,
            object_pairs_hook=_make_object,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON that can be kept whole") from error
    return value


def _parse_float(text: str) -> float:
    number = float(text)
    return JsonFloat(text) if repr(number) != text or number.is_integer() else number


def _parse_int(text: str) -> int | float:
    return JsonFloat(text) if text == "-0" else int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result
