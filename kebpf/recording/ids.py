"""Reads the times that ids carry."""

from __future__ import annotations

from kebpf.recording.times import SECOND_NS, Window, find_epoch_class

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SNOWFLAKE_EPOCHS_MS = (1_288_834_974_657, 1_420_070_400_000)  # Twitter, Discord
_GREGORIAN_NS = 12_219_292_800 * 1_000_000_000  # 1582-10-15 to 1970-01-01, RFC 9562 section 5.1


def classify_number(text: str, window: Window | None) -> str | None:
    """The class of a number that is a time in the window or an id that carries one."""
    if window is None:
        return None
    epoch = find_epoch_class(text, window)
    if epoch is not None:
        return f"time:{epoch}"
    if 17 <= len(text) <= 19 and text.isdigit():
        stamps = (read_snowflake_time(text, epoch) for epoch in _SNOWFLAKE_EPOCHS_MS)
        if any(window.holds(stamp, 1_000_000) for stamp in stamps):
            return "snowflake"
    return None


def read_uuid_time(text: str) -> int:
    """The time in a version 1, 6 or 7 UUID (RFC 9562), nanoseconds since the Unix epoch."""
    digits = text.replace("-", "")
    if digits[12] == "7":
        return int(digits[:12], 16) * 1_000_000
    if digits[12] == "6":
        ticks = int(digits[:12] + digits[13:16], 16)
    else:
        ticks = int(digits[13:16] + digits[8:12] + digits[:8], 16)
    return ticks * 100 - _GREGORIAN_NS


def read_ulid_time(text: str) -> int:
    """The time in a ULID, nanoseconds since the Unix epoch."""
    number = 0
    for character in text[:10]:
        number = number * 32 + _CROCKFORD.index(character)
    return number * 1_000_000


def read_ksuid_time(text: str) -> int:
    """The time in a KSUID (27 base62 characters), nanoseconds since the Unix epoch."""
    number = 0
    for character in text:
        number = number * 62 + _BASE62.index(character)
    return ((number >> 128) + 1_400_000_000) * SECOND_NS


def read_snowflake_time(text: str, epoch_ms: int) -> int:
    """The time in a Snowflake id of a given epoch, nanoseconds since the Unix epoch."""
    return ((int(text) >> 22) + epoch_ms) * 1_000_000
