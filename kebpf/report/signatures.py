"""What a failed case failed for, so that two runs of one failure give the same.

Ids, times and long numbers are as good as equal: they are made anew in every run.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kebpf.recording.values import find_tokens

Entry = dict[str, Any]

_LONG_NUMBER = re.compile(r"\d{6,}(?:\.\d+)?")


def sign_case(event: Entry) -> frozenset[str]:
    """The differences of a case; equal for the same failure of the same case."""
    parts = {f"response {_sign_mismatch(one)}" for one in event.get("mismatches") or []}
    parts |= {sign_call(call) for call in event.get("calls") or []}
    error = str(event.get("error") or "").strip()
    if error:
        parts.add(f"error {generalise(error.splitlines()[0])}")
    return frozenset(parts)


def sign_call(call: Entry) -> str:
    """One call that is not as recorded."""
    fields = sorted(_sign_mismatch(one) for one in call.get("fields") or [])
    what = generalise(str(call.get("operation") or call.get("call")))
    where = f"{call.get('destination')} {call.get('count', 1)}x"
    return f"call {call.get('kind')} {where} {what} {' '.join(fields)}".rstrip()


def _sign_mismatch(one: Entry) -> str:
    values = (generalise(_write(one.get(key))) for key in ("expected", "actual"))
    return f"{one.get('path')} {one.get('kind')} {' '.join(values)}"


def _write(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def generalise(text: str) -> str:
    """A text with ``*`` for what each run makes anew."""
    pieces, end = [], 0
    for token in find_tokens(text, None):
        pieces += [text[end : token.start], "*"]
        end = token.end
    return _LONG_NUMBER.sub("*", "".join([*pieces, text[end:]]))
