"""Values by type OID: the wire's text and binary forms ⇄ the canonical text of documents.

The canonical text is what the server prints with DateStyle ISO, IntervalStyle postgres,
bytea_output hex and TimeZone UTC.  What came as text stays as it came.  A value whose binary
form is not understood stays ``bytes``, and can only be given out again in that form.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from kebpf.protocols.postgres import arrays, bits, dates, geometry, network, numeric, ranges
from kebpf.protocols.postgres.messages import BINARY_FORMAT, TEXT_FORMAT

Value = str | bytes | None
Decoder = Callable[[bytes], str]
Encoder = Callable[[str], bytes]


class ConversionError(Exception):
    """A value is not known in the form that is asked for."""


@dataclass(frozen=True, slots=True)
class Type:
    """How one type is read from and written to the binary form; ``size`` as in pg_type.typlen."""

    oid: int
    name: str
    array_oid: int
    size: int
    decode: Decoder
    encode: Encoder


def _decode_text(raw: bytes) -> str:
    return raw.decode("utf-8")


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8")


def _integer(form: str) -> tuple[Decoder, Encoder]:
    packer = struct.Struct(form)

    def decode(raw: bytes) -> str:
        return str(packer.unpack(raw)[0])

    def encode(text: str) -> bytes:
        return packer.pack(int(text))

    return decode, encode


def _decode_bool(raw: bytes) -> str:
    return {b"\1": "t", b"\0": "f"}[raw]


def _encode_bool(text: str) -> bytes:
    return {"t": b"\1", "true": b"\1", "f": b"\0", "false": b"\0"}[text]


def _decode_bytea(raw: bytes) -> str:
    return "\\x" + raw.hex()


def _encode_bytea(text: str) -> bytes:
    if not text.startswith("\\x"):
        raise ValueError("bytea in escape format")
    return bytes.fromhex(text[2:])


def _decode_uuid(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def _encode_uuid(text: str) -> bytes:
    return uuid.UUID(text).bytes


def _decode_jsonb(raw: bytes) -> str:
    if raw[:1] != b"\1":
        raise ValueError("an unknown version of jsonb")
    return raw[1:].decode("utf-8")


def _encode_jsonb(text: str) -> bytes:
    return b"\1" + text.encode("utf-8")


def _decode_void(raw: bytes) -> str:
    if raw:
        raise ValueError("a void that is not empty")
    return ""


def _encode_void(text: str) -> bytes:
    return b""


_TEXT = (_decode_text, _encode_text)

TYPES: dict[int, Type] = {
    entry.oid: entry
    for entry in (
        Type(16, "bool", 1000, 1, _decode_bool, _encode_bool),
        Type(17, "bytea", 1001, -1, _decode_bytea, _encode_bytea),
        Type(18, "char", 1002, 1, *_TEXT),
        Type(19, "name", 1003, 64, *_TEXT),
        Type(20, "int8", 1016, 8, *_integer("!q")),
        Type(21, "int2", 1005, 2, *_integer("!h")),
        Type(23, "int4", 1007, 4, *_integer("!i")),
        Type(25, "text", 1009, -1, *_TEXT),
        Type(26, "oid", 1028, 4, *_integer("!I")),
        Type(114, "json", 199, -1, *_TEXT),
        Type(142, "xml", 143, -1, *_TEXT),
        Type(650, "cidr", 651, -1, network.decode_cidr, network.encode_cidr),
        Type(700, "float4", 1021, 4, numeric.decode_float4, numeric.encode_float4),
        Type(701, "float8", 1022, 8, numeric.decode_float8, numeric.encode_float8),
        Type(27, "tid", 1010, 6, bits.decode_tid, bits.encode_tid),
        Type(28, "xid", 1011, 4, *_integer("!I")),
        Type(29, "cid", 1012, 4, *_integer("!I")),
        Type(600, "point", 1017, 16, *geometry.POINT),
        Type(601, "lseg", 1018, 32, *geometry.LSEG),
        Type(602, "path", 1019, -1, geometry.decode_path, geometry.encode_path),
        Type(604, "polygon", 1027, -1, geometry.decode_polygon, geometry.encode_polygon),
        Type(628, "line", 629, 24, *geometry.LINE),
        Type(705, "unknown", 0, -2, *_TEXT),
        Type(718, "circle", 719, 24, *geometry.CIRCLE),
        Type(774, "macaddr8", 775, 8, *bits.hardware_address(8)),
        Type(829, "macaddr", 1040, 6, *bits.hardware_address(6)),
        Type(869, "inet", 1041, -1, network.decode_inet, network.encode_inet),
        Type(1042, "bpchar", 1014, -1, *_TEXT),
        Type(1043, "varchar", 1015, -1, *_TEXT),
        Type(1082, "date", 1182, 4, dates.decode_date, dates.encode_date),
        Type(1083, "time", 1183, 8, dates.decode_time, dates.encode_time),
        Type(1114, "timestamp", 1115, 8, dates.decode_timestamp, dates.encode_timestamp),
        Type(1184, "timestamptz", 1185, 8, dates.decode_timestamptz, dates.encode_timestamptz),
        Type(1186, "interval", 1187, 16, dates.decode_interval, dates.encode_interval),
        Type(1266, "timetz", 1270, 12, dates.decode_timetz, dates.encode_timetz),
        Type(1560, "bit", 1561, -1, bits.decode_bits, bits.encode_bits),
        Type(1562, "varbit", 1563, -1, bits.decode_bits, bits.encode_bits),
        Type(1700, "numeric", 1231, -1, numeric.decode_numeric, numeric.encode_numeric),
        Type(2278, "void", 0, 4, _decode_void, _encode_void),
        Type(2950, "uuid", 2951, 16, _decode_uuid, _encode_uuid),
        Type(3220, "pg_lsn", 3221, 8, bits.decode_lsn, bits.encode_lsn),
        Type(3802, "jsonb", 3807, -1, _decode_jsonb, _encode_jsonb),
        Type(4072, "jsonpath", 4073, -1, _decode_jsonb, _encode_jsonb),
        Type(5069, "xid8", 271, 8, *_integer("!Q")),
    )
}


def _array_of(element: Type) -> Type:
    def decode(raw: bytes) -> str:
        return arrays.decode_array(raw, element.decode)

    def encode(text: str) -> bytes:
        return arrays.encode_array(text, element.oid, element.encode)

    return Type(element.array_oid, element.name + "[]", 0, -1, decode, encode)


# Name, element's OID; OID and array OID of the range, the same of the multirange (pg_range.dat).
_RANGES = (
    ("int4", 23, 3904, 3905, 4451, 6150),
    ("num", 1700, 3906, 3907, 4532, 6151),
    ("ts", 1114, 3908, 3909, 4533, 6152),
    ("tstz", 1184, 3910, 3911, 4534, 6153),
    ("date", 1082, 3912, 3913, 4535, 6155),
    ("int8", 20, 3926, 3927, 4536, 6157),
)


def _range_of(name: str, element: Type, oid: int, array_oid: int) -> Type:
    return Type(
        oid,
        f"{name}range",
        array_oid,
        -1,
        lambda raw: ranges.decode_range(raw, element.decode),
        lambda text: ranges.encode_range(text, element.encode),
    )


def _multirange_of(name: str, element: Type, oid: int, array_oid: int) -> Type:
    return Type(
        oid,
        f"{name}multirange",
        array_oid,
        -1,
        lambda raw: ranges.decode_multirange(raw, element.decode),
        lambda text: ranges.encode_multirange(text, element.encode),
    )


for _name, _element, _oid, _array, _multi, _multi_array in _RANGES:
    TYPES[_oid] = _range_of(_name, TYPES[_element], _oid, _array)
    TYPES[_multi] = _multirange_of(_name, TYPES[_element], _multi, _multi_array)

# An array of boxes is the one that has another separator, and is not known.
TYPES[603] = Type(603, "box", 0, 32, *geometry.BOX)
TYPES.update({t.array_oid: _array_of(t) for t in list(TYPES.values()) if t.array_oid})

# What a decoder or encoder may raise for a value that is not of its type.
_REFUSALS = (ValueError, KeyError, struct.error, RecursionError)


def decode_value(type_oid: int, value_format: int, raw: bytes | None) -> Value:
    """A value from the wire as its canonical text, or ``bytes`` if it has none we know."""
    if raw is None:
        return None
    if value_format == TEXT_FORMAT:
        return _decode_any_text(raw)
    known = TYPES.get(type_oid)
    if known is None or value_format != BINARY_FORMAT:
        return raw
    try:
        return known.decode(raw)
    except _REFUSALS:
        return raw


def _decode_any_text(raw: bytes) -> Value:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def encode_value(type_oid: int, value_format: int, value: Value, known_format: int) -> bytes | None:
    """A document's value on the wire; ``known_format`` is the form it was recorded in.

    Raises ``ConversionError`` where the form asked for cannot be made of the one known.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        if value_format == known_format:
            return value
        raise ConversionError(f"a value of type {type_oid} is only known in its other form")
    if value_format == TEXT_FORMAT:
        return value.encode("utf-8")
    known = TYPES.get(type_oid)
    if known is None:
        raise ConversionError(f"type {type_oid} is only known as text")
    try:
        return known.encode(value)
    except _REFUSALS as error:
        raise ConversionError(f"a {known.name} is only known as text") from error
