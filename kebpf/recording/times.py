"""Reads and writes times as programs print them, and says whether one is fresh.

A format is written as in ``strftime``, with three fraction notations (``%3f`` exactly three
digits, ``%f`` up to six, ``%9f`` up to nine, the last two with trailing zeros left out) and three
zone notations (``%z`` ``+0100``, ``%:z`` ``+01:00``, ``%#z`` PostgreSQL's ``+01`` or ``+05:30``).
RFC 3339, RFC 9110 section 5.6.7 and PostgreSQL's ISO DateStyle are the sources.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

SECOND_NS = 1_000_000_000
UNHURRIED_NS = 2 * SECOND_NS  # a call of no request may hold a time that was read so much before
DAY_NS = 86_400 * SECOND_NS
FINE_SLACK_NS = 10_000_000  # a coarse kernel clock ticks every 4 to 10 ms
COARSE_SLACK_NS = SECOND_NS  # some programs round instead of cutting off
CACHED_SLACK_NS = 2 * SECOND_NS  # servers print a Date they cached a second ago

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_ISO = re.compile(
    r"(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)"
    r"(?:(?P<sep>[T ])(?P<H>\d\d):(?P<M>\d\d)(?::(?P<S>\d\d)(?:\.(?P<f>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_HTTP = re.compile(
    rf"(?:{'|'.join(_DAYS)}), (?P<d>\d\d)(?P<sep>[ -])(?P<m>{'|'.join(_MONTHS)})(?P=sep)"
    r"(?P<Y>\d{4}) (?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d) (?P<zone>GMT|[+-]\d{4})",
    re.ASCII,
)
_COMPACT = re.compile(
    r"(?P<Y>\d{4})(?P<m>\d\d)(?P<d>\d\d)T(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)(?P<zone>Z)", re.ASCII
)

# Other ways in which people read times, as programs write them for them.
_SPOKEN_FORMATS = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%d.%m.%Y, %H:%M",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%m/%d/%Y, %H:%M:%S", "%d/%m/%Y, %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
    "%a %b %e %H:%M:%S %Y", "%a %b %d %Y %H:%M:%S GMT%z", "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%d%H%M%S",
)  # fmt: skip

# The shapes above without groups, for a scan of longer text.
SCAN_PATTERN = (
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d[ -][A-Z][a-z]{2}[ -]\d{4} \d\d:\d\d:\d\d"
    r" (?:GMT|[+-]\d{4})"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
    r"|\d{8}T\d{6}Z"
    r"|\d\d[./]\d\d[./]\d{4},? \d\d:\d\d(?::\d\d)?"
    r"|\d{4}/\d\d/\d\d \d\d:\d\d(?::\d\d)?"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d"
    r" (?:\d\d:\d\d:\d\d \d{4}|\d{4} \d\d:\d\d:\d\d GMT[+-]\d{4})"
    r"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
    r"|20\d{12}"
)

_EPOCH_UNITS = {
    "epoch_s": SECOND_NS, "epoch_f": SECOND_NS, "epoch_ms": 1_000_000, "epoch_us": 1000,
    "epoch_ns": 1,
}  # fmt: skip
_STAMP_UNITS = ("epoch_b64", "epoch_b62")  # whole seconds, as itsdangerous and Django sign them
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLAUSIBLE_S = (1_200_000_000, 4_000_000_000)  # 2008 to 2096


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, both ends in nanoseconds since the Unix epoch and inclusive."""

    start_ns: int
    end_ns: int

    def holds(self, time_ns: int, resolution_ns: int = 1, is_cached: bool = False) -> bool:
        """Whether a time, known only to ``resolution_ns``, may lie in the window."""
        slack = COARSE_SLACK_NS if resolution_ns >= SECOND_NS else FINE_SLACK_NS
        slack = CACHED_SLACK_NS if is_cached else slack
        return self.start_ns - slack - resolution_ns <= time_ns <= self.end_ns + slack


@dataclass(frozen=True, slots=True)
class PrintedTime:
    """A time read from text: the instant (naive ones read as UTC), its resolution, its format."""

    time_ns: int
    resolution_ns: int
    format: str
    zone_s: int | None  # seconds east of UTC, None for a naive time


@lru_cache(maxsize=4096)
def parse_time(text: str) -> PrintedTime | None:
    """Reads a time that fills the whole text; ``None`` for anything else."""
    return next(iter(parse_readings(text)), None)


@lru_cache(maxsize=4096)
def parse_readings(text: str) -> tuple[PrintedTime, ...]:
    """Every way to read a text as one time: the day may stand before or behind the month."""
    for pattern, read in ((_ISO, _iso_format), (_HTTP, _http_format), (_COMPACT, _compact_format)):
        match = pattern.fullmatch(text)
        if match is not None:
            value = _read(match.groupdict(), read(match.groupdict()))
            return () if value is None else (value,)
    values = (_read_spoken(text, format_) for format_ in _SPOKEN_FORMATS)
    return tuple(value for value in values if value is not None)


def _read_spoken(text: str, format_: str) -> PrintedTime | None:
    match = _spoken_pattern(format_).fullmatch(text)
    return None if match is None else _read(match.groupdict(), format_)


@lru_cache(maxsize=64)
def _spoken_pattern(format_: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for match in _DIRECTIVE.finditer(format_):
        pattern, group = _DIRECTIVE_PATTERNS[match.group()], _GROUPS.get(match.group())
        pieces.append(re.escape(format_[end : match.start()]))
        pieces.append(pattern if group is None else f"(?P<{group}>{pattern})")
        end = match.end()
    return re.compile("".join([*pieces, re.escape(format_[end:])]), re.ASCII)


def parse_epoch(text: str, unit: str) -> PrintedTime | None:
    """Reads an epoch number written in ``unit``: ``epoch_s`` … ``epoch_ns``.

    ``epoch_f`` are seconds with a fraction, ``epoch_b64`` and ``epoch_b62`` signed stamps.
    """
    if unit in _STAMP_UNITS:
        return _parse_stamp(text, unit)
    whole, dot, fraction = text.partition(".")
    if not whole.isascii() or not whole.isdigit() or (dot and not fraction.isdigit()):
        return None
    scale = _EPOCH_UNITS[unit]
    part = int(fraction[:9].ljust(9, "0")) * scale // SECOND_NS if dot else 0
    resolution = max(1, scale // 10 ** min(len(fraction), 6)) if dot else scale
    return PrintedTime(int(whole) * scale + part, resolution, unit, 0)


def _parse_stamp(text: str, unit: str) -> PrintedTime | None:
    if re.fullmatch(format_pattern(unit), text, re.ASCII) is None:
        return None
    if unit == "epoch_b64":
        seconds = int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")
    else:
        seconds = 0
        for character in text:
            seconds = seconds * 62 + _BASE62.index(character)
    return PrintedTime(seconds * SECOND_NS, SECOND_NS, unit, 0)


def is_plausible(value: PrintedTime) -> bool:
    """Whether a number is likely to have been meant as a time at all."""
    return _PLAUSIBLE_S[0] <= value.time_ns // SECOND_NS <= _PLAUSIBLE_S[1]


def find_epoch_class(text: str, window: Window) -> str | None:
    """``epoch_s`` … for a number that is a time in the window, ``epoch_s@+3600`` beside it."""
    size = 0 if "." in text else len(text)
    if text.find(".") == 10:
        return _find_epoch_class(text, "epoch_f", window)
    for unit, digits in (("epoch_s", 10), ("epoch_ms", 13), ("epoch_us", 16), ("epoch_ns", 19)):
        if size == digits:
            return _find_epoch_class(text, unit, window)
    return None


def _find_epoch_class(text: str, unit: str, window: Window) -> str | None:
    value = parse_epoch(text, unit)
    shift = find_shift(value, window) if value is not None else None
    if shift is None:
        return None
    return f"{unit}@{shift:+d}" if shift else unit


def find_shift(value: PrintedTime, window: Window) -> int | None:
    """Seconds by which a time lies beside the window: 0 when in it, ``None`` when unrelated.

    A shift is a zone's offset for naive times (multiples of 15 minutes up to 14 hours), or a
    round span such as an expiry: seconds to an hour for a fine time to come, minutes to an hour,
    5 minutes to a day, hours to a month, days to 20 years.
    """
    if value.resolution_ns >= DAY_NS:
        return _find_day_shift(value, window)
    if is_in_shifted(value, 0, window):
        return 0
    middle = (window.start_ns + window.end_ns) // 2
    distance = (value.time_ns - middle) / SECOND_NS
    is_expiry = distance > 0 and value.resolution_ns < SECOND_NS
    steps = _FINE_STEPS + _ROUND_STEPS if is_expiry else _ROUND_STEPS
    for step, limit in _ZONE_STEPS + steps if value.zone_s is None else steps:
        shift = round(distance / step) * step
        is_narrow = (window.end_ns - window.start_ns) * 4 <= step * SECOND_NS
        is_narrow = is_narrow and value.resolution_ns * 20 <= step * SECOND_NS
        if is_narrow and abs(shift) <= limit and is_in_shifted(value, shift, window):
            return shift
    return None


_ZONE_STEPS = ((900, 14 * 3600),)
_FINE_STEPS = ((1, 3600),)
_ROUND_STEPS = ((60, 3600), (300, 86_400), (3600, 31 * 86_400), (86_400, 20 * 366 * 86_400))


# Days after today that a program is likely to mean, so that no date that somebody wrote is taken
# for one of them.
_DAY_SHIFTS = (0, 1, -1, 2, 3, 5, 7, 10, 14, 15, 20, 21, 28, 30, 31, 45, 60, 90, 180, 365)


def _find_day_shift(value: PrintedTime, window: Window) -> int | None:
    for days in _DAY_SHIFTS:
        if is_in_shifted(value, days * 86_400, window):
            return days * 86_400
    return None


def is_in_shifted(value: PrintedTime, shift_s: float, window: Window) -> bool:
    """Whether the time, moved back by the shift, may lie in the window."""
    time_ns = value.time_ns - round(shift_s * SECOND_NS)
    return window.holds(time_ns, value.resolution_ns, value.format.startswith("%a, "))


def write_like(model: str, time_ns: int) -> str:
    """Prints an instant in the format, zone and precision of another printed time.

    Raises ``ValueError`` when ``model`` is no time.
    """
    value = parse_time(model)
    if value is None:
        raise ValueError(f"not a printed time: {model[:40]!r}")
    local_ns = time_ns + (value.zone_s or 0) * SECOND_NS
    seconds, fraction_ns = divmod(local_ns, SECOND_NS)
    days, rest = divmod(seconds, 86_400)
    day = date.fromordinal(719_163 + days)
    parts = {
        "%Y": f"{day.year:04}", "%m": f"{day.month:02}", "%d": f"{day.day:02}",
        "%e": f"{day.day:2}", "%b": _MONTHS[day.month - 1], "%a": _DAYS[day.weekday()],
        "%H": f"{rest // 3600:02}", "%M": f"{rest // 60 % 60:02}", "%S": f"{rest % 60:02}",
    }  # fmt: skip
    return _DIRECTIVE.sub(lambda m: _write_part(m.group(), parts, fraction_ns, value), value.format)


_DIRECTIVE = re.compile(r"\.%[39]?f|%[:#]?[A-Za-z]")


def _write_part(directive: str, parts: dict[str, str], fraction_ns: int, like: PrintedTime) -> str:
    if directive in parts:
        return parts[directive]
    if directive.endswith("f"):
        return _write_fraction(directive, fraction_ns)
    zone = like.zone_s or 0
    sign, minutes = "-" if zone < 0 else "+", abs(zone) // 60
    hours, minutes = divmod(minutes, 60)
    if directive == "%#z":
        return f"{sign}{hours:02}" + (f":{minutes:02}" if minutes else "")
    return f"{sign}{hours:02}{':' if directive == '%:z' else ''}{minutes:02}"


def _write_fraction(directive: str, fraction_ns: int) -> str:
    digits = f"{fraction_ns:09}"
    if directive == ".%3f":
        return "." + digits[:3]
    kept = (digits if directive == ".%9f" else digits[:6]).rstrip("0")
    return "." + kept if kept else ""


# A fraction is there, if short: that all its digits are zero happens once in a million times.
_GROUPS = {
    "%Y": "Y", "%m": "m", "%b": "m", "%d": "d", "%e": "d", "%H": "H", "%M": "M", "%S": "S",
    "%z": "zone",
}  # fmt: skip
_DIRECTIVE_PATTERNS = {
    "%e": r"[ \d]\d",
    "%Y": r"\d{4}", "%m": r"\d\d", "%d": r"\d\d", "%H": r"\d\d", "%M": r"\d\d", "%S": r"\d\d",
    "%b": r"[A-Z][a-z]{2}", "%a": r"[A-Z][a-z]{2}",
    ".%3f": r"\.\d{3}", ".%f": r"\.\d{1,6}", ".%9f": r"\.\d{1,9}",
    "%z": r"[+-]\d{4}", "%:z": r"[+-]\d\d:\d\d", "%#z": r"[+-]\d\d(?::\d\d)?",
}  # fmt: skip


@lru_cache(maxsize=1024)
def format_pattern(format_: str) -> str:
    """The regular expression, without groups, of texts in a format or epoch unit."""
    if format_ in _STAMP_UNITS:
        return r"[\w-]{5}[AQgw]" if format_ == "epoch_b64" else r"[0-9A-Za-z]{6}"
    if format_ in _EPOCH_UNITS:
        return r"\d{1,19}\.\d{1,9}" if format_ == "epoch_f" else r"\d{1,19}"
    pieces, end = [], 0
    for match in _DIRECTIVE.finditer(format_):
        pieces.append(re.escape(format_[end : match.start()]))
        pieces.append(_DIRECTIVE_PATTERNS.get(match.group(), re.escape(match.group())))
        end = match.end()
    return "".join([*pieces, re.escape(format_[end:])])


def parse_in_format(text: str, format_: str) -> PrintedTime | None:
    """Reads a time that must be written in a format as ``PrintedTime.format`` names it."""
    if format_ in _EPOCH_UNITS or format_ in _STAMP_UNITS:
        return parse_epoch(text, format_)
    if re.fullmatch(format_pattern(format_), text) is None:
        return None
    exact = (one for one in parse_readings(text) if one.format == format_)
    return next(exact, None) or parse_time(text)


def _read(groups: dict[str, str | None], format_: str) -> PrintedTime | None:
    try:
        month = _read_month(groups["m"] or "")
        day = date(int(groups["Y"] or 0), month, int(groups["d"] or 0))
    except ValueError:
        return None
    clock = [int(groups.get(name) or 0) for name in "HMS"]
    if clock[0] > 24 or clock[1] > 59 or clock[2] > 60:
        return None
    zone_s = _read_zone(groups.get("zone"))
    fraction = groups.get("f") or ""
    seconds = (day.toordinal() - 719_163) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
    time_ns = (seconds - (zone_s or 0)) * SECOND_NS + int(fraction.ljust(9, "0"))
    return PrintedTime(time_ns, _resolution(groups, format_), format_, zone_s)


def _read_month(text: str) -> int:
    return _MONTHS.index(text) + 1 if text.isalpha() else int(text)  # ValueError: no month


def _read_zone(text: str | None) -> int | None:
    if text is None:
        return None
    if text in ("Z", "GMT"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if text[0] == "-" else seconds


def _resolution(groups: dict[str, str | None], format_: str) -> int:
    if groups.get("H") is None:
        return DAY_NS
    if groups.get("S") is None:  # a pattern may have no group for them
        return 60 * SECOND_NS
    if ".%3f" in format_:
        return 1_000_000
    if ".%f" in format_:
        return 1000
    return 1 if ".%9f" in format_ else SECOND_NS


def _iso_format(groups: dict[str, str | None]) -> str:
    if groups["sep"] is None:
        return "%Y-%m-%d"
    seconds = ":%S" if groups["S"] is not None else ""
    zone = groups["zone"]
    return (
        f"%Y-%m-%d{groups['sep']}%H:%M{seconds}{_fraction_notation(groups)}"
        f"{_zone_notation(zone) if zone else ''}"
    )


def _fraction_notation(groups: dict[str, str | None]) -> str:
    digits = len(groups["f"] or "")
    if digits == 0:
        return ""
    if digits == 3 and groups["sep"] == "T":
        return ".%3f"
    return ".%f" if digits <= 6 else ".%9f"


def _zone_notation(zone: str) -> str:
    if zone == "Z":
        return "Z"
    if ":" in zone:
        return "%:z"
    return "%z" if len(zone) == 5 else "%#z"


def _http_format(groups: dict[str, str | None]) -> str:
    sep = groups["sep"]
    zone = "GMT" if groups["zone"] == "GMT" else "%z"
    return f"%a, %d{sep}%b{sep}%Y %H:%M:%S {zone}"


def _compact_format(_groups: dict[str, str | None]) -> str:
    return "%Y%m%dT%H%M%SZ"
