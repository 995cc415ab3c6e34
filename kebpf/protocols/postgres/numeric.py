"""Binary ⇄ text of PostgreSQL's floating-point and numeric types, as the server prints them."""

from __future__ import annotations

import math
import re
import struct
from fractions import Fraction

_SPECIAL_SIGNS = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_SPECIAL_TEXTS = {text.lower(): sign for sign, text in _SPECIAL_SIGNS.items()}
_NUMERIC = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?\Z")
_FLOAT_SPECIALS = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}

_LAST_HALVES = 2.0**52


def _print_shortest(shortest: str, fixed_limit: int) -> str:
    """Digits as Python prints them, laid out as the server does: fixed for 1e-4 … 1e(limit)."""
    mantissa, _, exponent_text = shortest.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return sign + "0"
    leading = len(whole + fraction) - len(digits)
    exponent = int(exponent_text or 0) + len(whole) - 1 - leading
    digits = digits.rstrip("0")
    if -4 <= exponent < fixed_limit:
        return sign + _print_fixed(digits, exponent)
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{exponent:+03d}"


def _print_fixed(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return digits[: exponent + 1] + "." + digits[exponent + 1 :]


def decode_float8(raw: bytes) -> str:
    """Shortest exact text (``extra_float_digits`` at its default).  Raises ``struct.error``."""
    (value,) = struct.unpack("!d", raw)
    if not math.isfinite(value):
        return _FLOAT_SPECIALS[repr(value)]
    return _print_shortest(_shortest_float8(value), 15)


def decode_float4(raw: bytes) -> str:
    """Shortest text that reads back as the same float4.  Raises ``struct.error``."""
    (value,) = struct.unpack("!f", raw)
    if not math.isfinite(value):
        return _FLOAT_SPECIALS[repr(value)]
    return _print_shortest(_shortest_float4(value), 6)


def _shortest_float8(value: float) -> str:
    """As ``repr``, but for texts halfway to a neighbour, which the server does not use.

    Halfway values have 54 significant bits; below 2**52 none has as few as 17 digits.
    """
    if abs(value) < _LAST_HALVES:
        return repr(value)
    below, above = math.nextafter(abs(value), 0.0), math.nextafter(abs(value), math.inf)
    return _shortest_between(value, below, above, 17)


def _shortest_float4(value: float) -> str:
    """The same for float4, whose neighbours are found through its bits."""
    (bits,) = struct.unpack("!I", struct.pack("!f", abs(value)))
    if bits == 0:
        return repr(value)
    below, above = (struct.unpack("!f", struct.pack("!I", bits + n))[0] for n in (-1, 1))
    return _shortest_between(value, below, above, 9)


def _shortest_between(value: float, below: float, above: float, most: int) -> str:
    """Fewest digits strictly inside the half way to either neighbour of ``abs(value)``."""
    exact = Fraction(abs(value))
    low = (exact + Fraction(below)) / 2
    high = exact * 2 - low if math.isinf(above) else (exact + Fraction(above)) / 2
    sign = "-" if value < 0 else ""
    for precision in range(1, most):
        nearest = f"{abs(value):.{precision - 1}e}"
        for text in (nearest, _next_away(nearest)):
            if low < Fraction(text) < high:
                return sign + text
    return f"{value:.{most - 1}e}"


def _next_away(text: str) -> str:
    """One more in the last digit: above a power of two the floats lie wider apart than below."""
    mantissa, _, exponent = text.partition("e")
    digits = mantissa.replace(".", "")
    return f"{int(digits) + 1}e{int(exponent) - len(digits) + 1}"


def _pack_float4(text: str) -> bytes | None:
    try:
        return struct.pack("!f", float(text))
    except OverflowError:
        return None


def encode_float8(text: str) -> bytes:
    """Raises ``ValueError``."""
    return struct.pack("!d", float(text))


def encode_float4(text: str) -> bytes:
    """Raises ``ValueError``, also for what does not fit."""
    packed = _pack_float4(text)
    if packed is None:
        raise ValueError("out of range for real")
    return packed


def decode_numeric(raw: bytes) -> str:
    """Text with the scale the server stored.  Raises ``struct.error``, ``ValueError``."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", raw)
    if sign in _SPECIAL_SIGNS:
        return _SPECIAL_SIGNS[sign]
    if len(raw) != 8 + 2 * count or sign not in (0, 0x4000):
        raise ValueError("a numeric of the wrong length or sign")
    groups = struct.unpack_from(f"!{count}H", raw, 8)
    digits = "".join(f"{group:04d}" for group in groups)
    point = (weight + 1) * 4
    if point < 0:
        digits, point = "0" * -point + digits, 0
    digits = digits.ljust(point, "0")
    whole = digits[:point].lstrip("0") or "0"
    fraction = digits[point : point + scale].ljust(scale, "0")
    text = f"{whole}.{fraction}" if scale else whole
    return "-" + text if sign else text


def encode_numeric(text: str) -> bytes:
    """Raises ``ValueError``."""
    special = _SPECIAL_TEXTS.get(text.lower())
    if special is not None:
        return struct.pack("!HhHH", 0, 0, special, 0x20 if special != 0xC000 else 0)
    match = _NUMERIC.match(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError("not a numeric")
    whole, fraction = match[2], match[3] or ""
    whole, fraction = _shift(whole, fraction, int(match[4] or 0))
    return _pack_numeric(match[1] == "-", whole.lstrip("0"), fraction)


def _shift(whole: str, fraction: str, exponent: int) -> tuple[str, str]:
    if exponent > 0:
        fraction = fraction.ljust(exponent, "0")
        return whole + fraction[:exponent], fraction[exponent:]
    if exponent < 0:
        whole = whole.rjust(-exponent, "0")
        return whole[:exponent], whole[exponent:] + fraction
    return whole, fraction


def _pack_numeric(is_negative: bool, whole: str, fraction: str) -> bytes:
    padded = whole.rjust(-(-len(whole) // 4) * 4, "0")
    weight = len(padded) // 4 - 1
    padded += fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int(padded[i : i + 4]) for i in range(0, len(padded), 4)]
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    if not groups:
        weight = 0
    sign = 0x4000 if is_negative and groups else 0
    head = struct.pack("!HhHH", len(groups), weight, sign, len(fraction))
    return head + struct.pack(f"!{len(groups)}H", *groups)
