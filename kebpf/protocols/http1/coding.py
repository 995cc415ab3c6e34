"""Undoes content codings: gzip, deflate, br and zstd (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import brotli
import zstandard

from kebpf.protocols.base import ProtocolError

MAX_DECODED_SIZE = 64 * 1024 * 1024

_GZIP = zlib.MAX_WBITS | 16
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_ZSTD_WINDOW = 8 * 1024 * 1024  # what RFC 9659 allows on the web
_ZSTD_SLICE = 1024


def decode_codings(body: bytes, codings: Sequence[str]) -> bytes:
    """``body`` without its codings, which are listed in the order they were applied.

    Raises ``ProtocolError`` for an unknown coding, damaged or cut-off data, bytes after its end,
    or a result beyond ``MAX_DECODED_SIZE`` bytes.
    """
    for coding in reversed(codings):
        decode = _DECODERS.get(coding)
        if decode is None:
            raise ProtocolError(f"unknown coding {coding[:20]!r}")
        body = decode(body)
    return body


def _decode_identity(data: bytes) -> bytes:
    return data


def _decode_gzip(data: bytes) -> bytes:
    result = bytearray()
    while True:
        part, data = _inflate(data, _GZIP, MAX_DECODED_SIZE - len(result))
        result += part
        if not data:
            return bytes(result)


def _decode_deflate(data: bytes) -> bytes:
    """Deflate is zlib by the standard, but some servers send it bare."""
    try:
        result, rest = _inflate(data, _ZLIB, MAX_DECODED_SIZE)
    except ProtocolError:
        result, rest = _inflate(data, _RAW, MAX_DECODED_SIZE)
    if rest:
        raise ProtocolError("bytes after the end of a deflate stream")
    return result


def _inflate(data: bytes, bits: int, room: int) -> tuple[bytes, bytes]:
    inflater = zlib.decompressobj(bits)
    try:
        result = inflater.decompress(data, room + 1)
    except zlib.error as error:
        raise ProtocolError("damaged deflate data") from error
    _check_size(len(result), room)
    if not inflater.eof:
        raise ProtocolError("a deflate stream is cut off")
    return result, inflater.unused_data


def _decode_brotli(data: bytes) -> bytes:
    decompressor = brotli.Decompressor()
    result = bytearray()
    try:
        result += decompressor.process(data, output_buffer_limit=MAX_DECODED_SIZE)
        while not decompressor.can_accept_more_data():
            result += decompressor.process(b"", output_buffer_limit=MAX_DECODED_SIZE)
            _check_size(len(result), MAX_DECODED_SIZE)
    except brotli.error as error:
        raise ProtocolError("damaged brotli data") from error
    if not decompressor.is_finished():
        raise ProtocolError("a brotli stream is cut off")
    return bytes(result)


def _decode_zstd(data: bytes) -> bytes:
    result = bytearray()
    try:
        while data:
            part, data = _decode_zstd_frame(data, MAX_DECODED_SIZE - len(result))
            result += part
    except zstandard.ZstdError as error:
        raise ProtocolError("damaged zstd data") from error
    return bytes(result)


def _decode_zstd_frame(data: bytes, room: int) -> tuple[bytes, bytes]:
    """One frame and what follows it, fed in slices so that little can grow beyond ``room``."""
    frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    result = bytearray()
    for at in range(0, len(data), _ZSTD_SLICE):
        result += frame.decompress(data[at : at + _ZSTD_SLICE])
        _check_size(len(result), room)
        if frame.eof:
            return bytes(result), frame.unused_data + data[at + _ZSTD_SLICE :]
    raise ProtocolError("a zstd stream is cut off")


def _check_size(size: int, room: int) -> None:
    if size > room:
        raise ProtocolError(f"decoded data is over {MAX_DECODED_SIZE:,} bytes")


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": _decode_identity,
    "gzip": _decode_gzip,
    "x-gzip": _decode_gzip,
    "deflate": _decode_deflate,
    "br": _decode_brotli,
    "zstd": _decode_zstd,
}
