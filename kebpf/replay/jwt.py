"""Compares two JSON Web Tokens claim by claim (RFC 7519); of the signature only the length."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from kebpf.recording.ids import is_jwt
from kebpf.recording.values import candidate_class, matches_class

TIME_CLAIMS = frozenset(("iat", "nbf", "exp", "auth_time", "updated_at"))
MOST_DRIFT_S = 2  # whole seconds round differently from one claim to the next


def agree(recorded: str, actual: str, to_actual: Callable[[Any], Any]) -> bool:
    """Whether two tokens say the same: header, claims, and the spans between their times.

    Claims must be equal once translated by ``to_actual``; random ones (``jti``) of one class.
    Tokens whose claims cannot be read (encrypted ones) must be of one length.
    """
    if not (is_jwt(recorded) and is_jwt(actual)):
        return False
    old, new = recorded.split("."), actual.split(".")
    if _read(old[0]) != _read(new[0]) or len(old[2]) != len(new[2]):
        return False
    expected, found = _read(old[1]), _read(new[1])
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return type(expected) is type(found) and len(old[1]) == len(new[1])
    return expected.keys() == found.keys() and _agree_claims(expected, found, to_actual)


def _agree_claims(
    expected: dict[str, Any], found: dict[str, Any], to_actual: Callable[[Any], Any]
) -> bool:
    moved = []
    for name, value in expected.items():
        if name in TIME_CLAIMS and _is_number(value) and _is_number(found[name]):
            moved.append(found[name] - value)
        elif not _agree_values(to_actual(value), found[name]):
            return False
    return not moved or max(moved) - min(moved) <= MOST_DRIFT_S


def _agree_values(expected: Any, found: Any) -> bool:
    if json.dumps(expected, sort_keys=True) == json.dumps(found, sort_keys=True):
        return True
    if not (isinstance(expected, str) and isinstance(found, str)):
        return False
    class_name = candidate_class(expected, None)
    return class_name is not None and matches_class(found, class_name, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(part: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
