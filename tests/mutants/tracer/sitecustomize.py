"""Writes each line of KEBPF_TRACED that runs for the first time to a file, whoever runs it."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Any

_TRACED = os.environ["KEBPF_TRACED"]
_LOG = os.open(os.environ["KEBPF_TRACE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_seen: set[tuple[str, int]] = set()


def _trace_lines(frame: FrameType, event: str, _argument: Any) -> Any:
    place = (frame.f_code.co_filename, frame.f_lineno)
    if event == "line" and place not in _seen:
        _seen.add(place)
        os.write(_LOG, f"{place[0]}:{place[1]}\n".encode())
    return _trace_lines


def _trace_calls(frame: FrameType, _event: str, _argument: Any) -> Any:
    if not os.path.abspath(frame.f_code.co_filename).startswith(_TRACED):  # noqa: PTH100
        return None
    return _trace_lines


threading.settrace(_trace_calls)
sys.settrace(_trace_calls)
