"""The bytes in which programs keep ids and times where they do not keep text."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kebpf.recording import times
from kebpf.recording.templates import is_time_class, split_time_class
from kebpf.recording.values import Token

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = "0123456789abcdef"


def raw_forms(token: Token) -> list[bytes]:
    """What a token may look like in binary data: both byte orders, a pickled ``datetime``."""
    if is_time_class(token.class_name):
        format_, _ = split_time_class(token.class_name)
        value = times.parse_in_format(token.text, format_)
        return (
            []
            if value is None or not times.is_plausible(value)
            else list(dict.fromkeys(_time_forms(value)))
        )
    digits = token.text.replace("-", "").lower()
    if token.class_name.startswith("uuid") or (len(digits) >= 24 and not digits.strip(_DIGITS)):
        data = bytes.fromhex(digits[: len(digits) // 2 * 2])
        return [data, data[::-1]]
    if token.text.isdigit() and int(token.text) < 1 << 64:
        return [struct.pack(order + "Q", int(token.text)) for order in "<>"]
    return []


def _time_forms(value: times.PrintedTime) -> Iterator[bytes]:
    for scale in (times.SECOND_NS, 1_000_000, 1000, 1):
        if value.resolution_ns > scale:
            continue
        number = value.time_ns // scale
        for order in "<>":
            yield struct.pack(order + ("I" if number < 1 << 32 else "Q"), number)
    if value.resolution_ns <= 1000:
        yield from _double_forms(value)
    yield _pickle_time(value.time_ns + (value.zone_s or 0) * times.SECOND_NS)
    yield _pickle_time(value.time_ns)


def _double_forms(value: times.PrintedTime) -> Iterator[bytes]:
    """Seconds as a float, which a program may have rounded to microseconds or not."""
    seconds = value.time_ns / times.SECOND_NS
    for order in "<>":
        yield struct.pack(order + "d", seconds)
        yield struct.pack(order + "d", seconds * 1000)


def _pickle_time(time_ns: int) -> bytes:
    """The ten bytes of ``datetime.__reduce__``: year, month, day, clock, microseconds."""
    when = _EPOCH + timedelta(microseconds=time_ns // 1000)
    clock = (when.month, when.day, when.hour, when.minute, when.second)
    return struct.pack(">H5B", when.year, *clock) + when.microsecond.to_bytes(3, "big")
