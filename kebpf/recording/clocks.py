"""Reads times in formats that programs print for people, and says which one values are in.

The formats are those of ``strftime`` in the C locale, with ``%e`` a day padded with a space.
`times` knows the formats of protocols; these are looked for only where values were seen to differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from kebpf.recording.times import DAY_NS, SECOND_NS, PrintedTime, Window, find_shift, is_in_shifted

FORMATS = (
    "%a %b %d %Y %H:%M:%S GMT%z", "%a %b %e %H:%M:%S %Y", "%a %b %d %H:%M:%S %Y",
    "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%d %b %Y %H:%M:%S",
    "%b %d, %Y %H:%M:%S", "%b %d %H:%M:%S", "%B %d, %Y %H:%M:%S", "%d %B %Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y-%m-%d_%H-%M-%S", "%Y-%m-%d %H-%M-%S",
    "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S",
    "%m/%d/%Y, %I:%M:%S %p", "%d/%m/%Y, %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y, %H:%M:%S",
    "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M%S", "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S", "%Y%m%dT%H%M%S",
    "%I:%M:%S %p", "%H:%M:%S", "%I:%M %p", "%H:%M",
)  # fmt: skip

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_PATTERNS = {
    "%Y": r"\d{4}", "%m": r"(?:0\d|1[0-2])", "%d": r"[0-3]\d", "%e": r"[ 1-3]\d",
    "%H": r"[0-2]\d", "%I": r"[01]?\d", "%M": r"[0-5]\d", "%S": r"[0-6]\d(?:[.,]\d{1,9})?",
    "%p": r"[AaPp][Mm]", "%z": r"[+-]\d\d:?\d\d", "%a": f"(?:{'|'.join(_DAYS)})",
    "%b": f"(?:{'|'.join(_MONTHS)})", "%B": f"(?:{'|'.join(_LONG_MONTHS)})",
}  # fmt: skip
_DIRECTIVE = re.compile(r"%[a-zA-Z]")


def split_shift(text: str) -> tuple[str, int]:
    """The format and the shift in seconds (``@+3600``) of a class's rest."""
    match = re.fullmatch(r"(.*)@([+-]\d+)", text)
    return (match.group(1), int(match.group(2))) if match else (text, 0)


@lru_cache(maxsize=256)
def clock_pattern(format_: str) -> str:
    """The regular expression, without groups, of texts in a format.  Raises ``ValueError``."""
    return _make_pattern(format_, lambda directive: _PATTERNS[directive])


@lru_cache(maxsize=256)
def _compile(format_: str) -> re.Pattern[str]:
    grouped = _make_pattern(format_, lambda one: f"(?P<{one[1]}>{_PATTERNS[one]})")
    return re.compile(grouped, re.ASCII)


def _make_pattern(format_: str, write: Callable[[str], str]) -> str:
    pieces, end = [], 0
    for match in _DIRECTIVE.finditer(format_):
        if match.group() not in _PATTERNS:
            raise ValueError(f"unknown directive {match.group()} in the format {format_!r}")
        pieces.append(re.escape(format_[end : match.start()]))
        pieces.append(write(match.group()))
        end = match.end()
    return "".join([*pieces, re.escape(format_[end:])])


def parse_clock(text: str, format_: str, near_ns: int) -> PrintedTime | None:
    """Reads a time in a format; what it does not say (the day, the year) is as near ``near_ns``.

    A time without a zone is read as UTC.
    """
    match = _compile(format_).fullmatch(text)
    return None if match is None else _read(match.groupdict(), format_, near_ns)


def _read(parts: dict[str, str], format_: str, near_ns: int) -> PrintedTime | None:
    near = datetime.fromtimestamp(near_ns // SECOND_NS, UTC)
    second, _, fraction = parts.get("S", "0").replace(",", ".").partition(".")
    try:
        moment = datetime(
            int(parts.get("Y") or near.year),
            _read_month(parts, near),
            int(parts.get("d") or parts.get("e") or near.day),
            _read_hour(parts),
            int(parts["M"]),
            min(int(second), 59),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    zone_s = _read_zone(parts.get("z"))
    time_ns = (int(moment.timestamp()) - (zone_s or 0)) * SECOND_NS + int(fraction.ljust(9, "0"))
    if "%Y" not in format_ and "%d" not in format_:
        time_ns += round((near_ns - time_ns) / DAY_NS) * DAY_NS
    resolution = 60 * SECOND_NS if "S" not in parts else SECOND_NS // 10 ** len(fraction)
    return PrintedTime(time_ns, resolution, format_, zone_s)


def _read_month(parts: dict[str, str], near: datetime) -> int:
    if "b" in parts:
        return _MONTHS.index(parts["b"]) + 1
    if "B" in parts:
        return _LONG_MONTHS.index(parts["B"]) + 1
    return int(parts.get("m") or near.month)


def _read_hour(parts: dict[str, str]) -> int:
    if "H" in parts:
        return int(parts["H"])
    hour = int(parts["I"])
    if not 1 <= hour <= 12:
        raise ValueError("no hour of a clock with twelve")
    return hour % 12 + (12 if parts["p"].lower() == "pm" else 0)


def _read_zone(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text[1:].replace(":", "")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return int(span.total_seconds()) * (-1 if text[0] == "-" else 1)


def is_clock_within(text: str, rest: str, window: Window) -> bool:
    """Whether a text, less the shift of the class ``clock:`` with this rest, lies in a window."""
    format_, shift_s = split_shift(rest)
    value = parse_clock(text, format_, window.start_ns + shift_s * SECOND_NS)
    return value is not None and is_in_shifted(value, shift_s, window)


def find_clock_classes(text: str, window: Window) -> Iterator[str]:
    """The classes of a text that is, as a whole, a time within the window or a round span off."""
    for format_ in FORMATS:
        value = parse_clock(text, format_, window.start_ns)
        shift = find_shift(value, window) if value is not None else None
        if shift is not None:
            yield f"clock:{format_}{f'@{shift:+d}' if shift else ''}"


# Any of the formats inside a longer text.
SCAN_PATTERN = "|".join(f"(?:{clock_pattern(format_)})" for format_ in FORMATS)
