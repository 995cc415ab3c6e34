"""Binary ⇄ text of dates, times and intervals: ISO style, time zones printed as UTC.

The wire counts days and microseconds from 2000-01-01 (section 8.5; src/include/datatype).
Years before 1 and after 9999 exist, so the calendar is computed here.
"""

from __future__ import annotations

import re
import struct

_INT32_MAX, _INT32_MIN = 2**31 - 1, -(2**31)
_INT64_MAX, _INT64_MIN = 2**63 - 1, -(2**63)
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_EPOCH_DAYS = 730_119  # days from 0001-01-01 to 2000-01-01
_DAYS_IN_400_YEARS = 146_097

_DATE = r"(\d{4,7})-(\d\d)-(\d\d)"
_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?"
_ZONE = r"([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?"
_DATE_TEXT = re.compile(rf"{_DATE}( BC)?\Z")
_TIME_TEXT = re.compile(rf"{_CLOCK}\Z")
_TIMETZ_TEXT = re.compile(rf"{_CLOCK}{_ZONE}\Z")
_TIMESTAMP_TEXT = re.compile(rf"{_DATE}[ T]{_CLOCK}(?:(Z)|{_ZONE})?( BC)?\Z")
_INTERVAL_PART = re.compile(
    r"([+-]?\d+) (years?|mons?|days?)|([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
)


def _days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 2000-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * _DAYS_IN_400_YEARS + day_of_era - 306 - _EPOCH_DAYS


def _civil_from_days(days: int) -> tuple[int, int, int]:
    era, day_of_era = divmod(days + _EPOCH_DAYS + 306, _DAYS_IN_400_YEARS)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day


def _print_date(days: int) -> tuple[str, str]:
    year, month, day = _civil_from_days(days)
    era = ""
    if year <= 0:
        year, era = 1 - year, " BC"
    return f"{year:04d}-{month:02d}-{day:02d}", era


def _print_clock(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, _SECOND)
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    return text + (f".{fraction:06d}".rstrip("0") if fraction else "")


def _read_date(year: str, month: str, day: str, era: str | None) -> int:
    number = 1 - int(year) if era else int(year)
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        raise ValueError("no such date")
    return _days_from_civil(number, int(month), int(day))


def _read_clock(hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return seconds * _SECOND + int((fraction or "").ljust(6, "0"))


def _read_zone(sign: str, hours: str, minutes: str | None, seconds: str | None) -> int:
    """Seconds east of Greenwich."""
    east = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return -east if sign == "-" else east


def decode_date(raw: bytes) -> str:
    """Raises ``struct.error``."""
    (days,) = struct.unpack("!i", raw)
    if days in (_INT32_MAX, _INT32_MIN):
        return "infinity" if days > 0 else "-infinity"
    return "".join(_print_date(days))


def encode_date(text: str) -> bytes:
    """Raises ``ValueError``."""
    if text in ("infinity", "-infinity"):
        return struct.pack("!i", _INT32_MIN if text.startswith("-") else _INT32_MAX)
    match = _match(_DATE_TEXT, text)
    return struct.pack("!i", _read_date(match[1], match[2], match[3], match[4]))


def decode_time(raw: bytes) -> str:
    """Raises ``struct.error``."""
    return _print_clock(struct.unpack("!q", raw)[0])


def encode_time(text: str) -> bytes:
    """Raises ``ValueError``."""
    match = _match(_TIME_TEXT, text)
    return struct.pack("!q", _read_clock(match[1], match[2], match[3], match[4]))


def decode_timetz(raw: bytes) -> str:
    """Raises ``struct.error``."""
    microseconds, west = struct.unpack("!qi", raw)
    sign = "-" if west > 0 else "+"
    minutes, second = divmod(abs(west), 60)
    zone = f"{sign}{minutes // 60:02d}"
    if minutes % 60 or second:
        zone += f":{minutes % 60:02d}" + (f":{second:02d}" if second else "")
    return _print_clock(microseconds) + zone


def encode_timetz(text: str) -> bytes:
    """Raises ``ValueError``."""
    match = _match(_TIMETZ_TEXT, text)
    clock = _read_clock(match[1], match[2], match[3], match[4])
    return struct.pack("!qi", clock, -_read_zone(match[5], match[6], match[7], match[8]))


def _decode_timestamp(raw: bytes, zone: str) -> str:
    (microseconds,) = struct.unpack("!q", raw)
    if microseconds in (_INT64_MAX, _INT64_MIN):
        return "infinity" if microseconds > 0 else "-infinity"
    days, clock = divmod(microseconds, _DAY)
    date, era = _print_date(days)
    return f"{date} {_print_clock(clock)}{zone}{era}"


def decode_timestamp(raw: bytes) -> str:
    """Raises ``struct.error``."""
    return _decode_timestamp(raw, "")


def decode_timestamptz(raw: bytes) -> str:
    """In UTC, whatever the session's TimeZone is.  Raises ``struct.error``."""
    return _decode_timestamp(raw, "+00")


def encode_timestamp(text: str) -> bytes:
    """Any offset in the text is taken off.  Raises ``ValueError``."""
    if text in ("infinity", "-infinity"):
        return struct.pack("!q", _INT64_MIN if text.startswith("-") else _INT64_MAX)
    match = _match(_TIMESTAMP_TEXT, text)
    days = _read_date(match[1], match[2], match[3], match[13])
    clock = _read_clock(match[4], match[5], match[6], match[7])
    east = _read_zone(match[9], match[10], match[11], match[12]) if match[9] else 0
    return struct.pack("!q", days * _DAY + clock - east * _SECOND)


def encode_timestamptz(text: str) -> bytes:
    """Raises ``ValueError``, also for a text without an offset."""
    match = _TIMESTAMP_TEXT.match(text)
    if match is not None and not (match[8] or match[9]):
        raise ValueError("no offset from UTC")
    return encode_timestamp(text)


def decode_interval(raw: bytes) -> str:
    """IntervalStyle ``postgres``.  Raises ``struct.error``."""
    microseconds, days, months = struct.unpack("!qii", raw)
    parts: list[str] = []
    is_before = False
    years, months = _truncate(months, 12)
    for number, unit in ((years, "year"), (months, "mon"), (days, "day")):
        if number:
            sign = "+" if is_before and number > 0 else ""
            parts.append(f"{sign}{number} {unit}{'' if number == 1 else 's'}")
            is_before = number < 0
    if microseconds or not parts:
        sign = "-" if microseconds < 0 else "+" if is_before else ""
        parts.append(sign + _print_clock(abs(microseconds)))
    return " ".join(parts)


def _truncate(number: int, divisor: int) -> tuple[int, int]:
    quotient = abs(number) // divisor * (1 if number >= 0 else -1)
    return quotient, number - quotient * divisor


def encode_interval(text: str) -> bytes:
    """From IntervalStyle ``postgres``.  Raises ``ValueError``."""
    months = days = microseconds = position = 0
    while position < len(text):
        match = _INTERVAL_PART.match(text, position)
        if match is None:
            raise ValueError("not an interval of style postgres")
        if match[2]:
            number = int(match[1])
            months += number * {"y": 12, "m": 1, "d": 0}[match[2][0]]
            days += number if match[2].startswith("d") else 0
        else:
            clock = _read_clock(match[4], match[5], match[6], match[7])
            microseconds = -clock if match[3] == "-" else clock
        position = match.end() + 1
    try:
        return struct.pack("!qii", microseconds, days, months)
    except struct.error as error:
        raise ValueError("out of range for interval") from error


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.match(text)
    if match is None:
        raise ValueError("not in ISO style")
    return match
