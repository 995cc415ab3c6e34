"""Requests as a report's lines show them."""

from __future__ import annotations

import re

from kebpf.report.values import escape_controls

_AUTHORITY = re.compile(r"(?<=\w )https?://[^/ ]+(?=/)")


def show_request(text: str) -> str:
    """A request without the scheme and the host, which are the same for all cases."""
    return escape_controls(_AUTHORITY.sub("", text, count=1))
