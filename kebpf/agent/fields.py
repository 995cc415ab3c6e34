"""The values of the agent's configuration: what each key takes, and the sentence where not."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kebpf.recording.dedup.leaving import LeaveOut
from kebpf.recording.dedup.reading import read_leave_out
from kebpf.recording.redaction.reading import read_redaction
from kebpf.recording.redaction.rules import Rules

MAX_PORT = 65535
MOST_STOP_SECONDS = 3600.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LEAST_SIZE = 1 << 20

Reader = Callable[[Any], Any]


class WrongValueError(Exception):
    """The text says what the value has to be."""


def read_text(value: Any) -> str:
    """One line of text."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise WrongValueError("a text")
    return value.strip()


def read_name(value: Any) -> str:
    """What a folder can be called."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise WrongValueError("a name of at most 64 letters, digits, dots, dashes and underscores")
    return value


def read_path(value: Any) -> Path:
    """A path from ``/`` on: a service has no folder of its own to start from."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise WrongValueError("a path from / on")
    return Path(value)


def read_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongValueError("true or false")
    return value


def read_left_out(value: Any) -> tuple[LeaveOut, ...]:
    """As ``leave_out`` in a project's ``kebpf.yml``."""
    try:
        return tuple(read_leave_out(value))
    except ValueError as error:
        raise WrongValueError(str(error)) from error


def read_redacted(value: Any) -> Rules | None:
    """As ``redact`` in a project's ``kebpf.yml``."""
    try:
        return read_redaction(value)
    except ValueError as error:
        raise WrongValueError(str(error)) from error


def read_ports(value: Any) -> tuple[int, ...]:
    """One port or a list of them."""
    ports = value if isinstance(value, list) else [value]
    if not ports or not all(_is_port(port) for port in ports):
        raise WrongValueError(f"a port or a list of ports, each from 1 to {MAX_PORT}")
    return tuple(ports)


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PORT


def read_size(value: Any) -> int:
    """``512M`` → bytes."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size < _LEAST_SIZE:
        raise WrongValueError("a size of 1M or more, such as 512M or 10G")
    return size


def read_rate(value: Any) -> int:
    """``20M/s`` → bytes a second."""
    text = value.removesuffix("/s").strip() if isinstance(value, str) else ""
    try:
        if not text or text == value:
            raise WrongValueError
        return read_size(text)
    except WrongValueError:
        raise WrongValueError("bytes a second, 1M/s or more, such as 20M/s") from None


def read_share(value: Any) -> float:
    """``25%`` of one processor → 0.25."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if not match or not 1 <= float(match[1]) <= 100_000:
        raise WrongValueError("a share of one processor of 1% or more, such as 25%")
    return float(match[1]) / 100


def read_seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST_STOP_SECONDS:
        raise WrongValueError(f"a number of seconds from 1 to {MOST_STOP_SECONDS:.0f}")
    return float(value)


def read_address(value: Any) -> Path | tuple[str, int]:
    """``/run/kebpf/metrics.sock`` or ``127.0.0.1:9560``: nothing that another host could reach."""
    if isinstance(value, str) and value.startswith("/"):
        return read_path(value)
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    host = host.strip("[]").replace("localhost", "127.0.0.1")
    try:
        if (
            port.isascii()
            and port.isdigit()
            and _is_port(int(port))
            and ip_address(host).is_loopback
        ):
            return host, int(port)
    except ValueError:
        pass
    raise WrongValueError("a path from / on, or an address of this host's loopback and a port")
