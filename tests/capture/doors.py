"""The doors as parameters of tests: door A is skipped on kernels before Linux 6.3."""

from __future__ import annotations

import platform
import re

import pytest

from kebpf.capture.probes import Door

# From the release's number, so that a door which kebpf fails to find is no reason to skip it.
_RELEASE = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
WHY_NOT_A = f"Linux {platform.release()} has no tracepoint sock_send_length (6.3 has it)"
needs_door_a = pytest.mark.skipif(_RELEASE < (6, 3), reason=WHY_NOT_A)
DOORS = [
    pytest.param(Door.A, id="door_a", marks=needs_door_a),
    pytest.param(Door.B, id="door_b"),
]
