"""The file of mocks: MessagePack objects one after another, each behind its length.

The length is itself a MessagePack unsigned 32-bit integer (0xce and four bytes), so the file is
a plain sequence of objects to any MessagePack reader, can be walked without decoding, and a mock
can be read alone from its offset.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Evidence, Mock, Tier, Timing, Tls

MAX_MOCK_SIZE = (1 << 32) - 1
_MARK = 0xCE  # of an unsigned 32-bit integer
_BIG_INTEGER = 1  # MessagePack extension type: an integer beyond 64 bits, in decimal
_PREFIX_SIZE = RECORD_START = 5
_HEAD_SIZE = 128  # bytes in which the name of a mock is found
_USUAL_SIZE = 2048  # bytes: most mocks are not larger, prefix included
_BLOCK_SIZE = 32 << 10  # bytes read at once: what is asked for next is mostly just behind
_TIERS = {tier.value: tier for tier in Tier}
_EVIDENCE = {evidence.value: evidence for evidence in Evidence}


class MockFileError(ValueError):
    """The file is cut off or damaged at ``offset``."""

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem)
        self.offset = offset


def pack_mock(mock: Mock) -> bytes:
    """One record.  Raises ``ValueError`` for what cannot be stored (depth, size, types)."""
    payload = pack_document(_fields_of_mock(mock))
    if len(payload) > MAX_MOCK_SIZE:
        raise ValueError("the mock is larger than 4 GiB")
    return b"\xce" + len(payload).to_bytes(4, "big") + payload


def pack_document(document: Document) -> bytes:
    """A tree as it stands in a record.  Raises ``ValueError`` as `pack_mock` does."""
    try:
        packed: bytes = msgpack.packb(document, default=_pack_other)
    except (TypeError, OverflowError, UnicodeError) as error:
        raise ValueError(str(error)) from error
    return packed


def unpack_document(data: bytes | memoryview) -> Any:
    """The reverse.  Raises ``ValueError`` and ``msgpack.UnpackException``."""
    return msgpack.unpackb(data, ext_hook=_unpack_other, strict_map_key=False)


def read_mock(file: BinaryIO) -> Mock | None:
    """The mock at the file's position, ``None`` at the end.  Raises ``MockFileError``."""
    offset = file.tell()
    size = _read_size(file, offset)
    if size is None:
        return None
    payload = file.read(size)
    if len(payload) != size:
        raise MockFileError("the last mock is cut off", offset)
    return _decode(payload, offset)


class MockReader:
    """Reads single mocks of one file, which stays open and the same whatever is at its path."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self._block, self._block_at = b"", 0

    def read_at(self, offset: int) -> Mock | None:
        """The mock at an offset, ``None`` at the end.  Raises ``MockFileError``, ``OSError``."""
        data = os.pread(self._descriptor, _USUAL_SIZE, offset)
        if not data:
            return None
        if len(data) < _PREFIX_SIZE or data[0] != _MARK:
            raise MockFileError("no mock starts here", offset)
        end = _PREFIX_SIZE + int.from_bytes(data[1:_PREFIX_SIZE], "big")
        if end > len(data):
            data += os.pread(self._descriptor, end - len(data), offset + len(data))
        if end > len(data):
            raise MockFileError("the last mock is cut off", offset)
        return _decode(memoryview(data)[_PREFIX_SIZE:end], offset)

    def record_at(self, offset: int) -> tuple[bytes, int] | None:
        """Bytes that begin with a mock's whole record, and where that ends.

        ``None`` for one larger than most, and for any damage.  Raises ``OSError``.
        """
        at = offset - self._block_at
        if not 0 <= at <= len(self._block) - _USUAL_SIZE:
            self._block = os.pread(self._descriptor, _BLOCK_SIZE, offset)
            self._block_at, at = offset, 0
        data = self._block[at : at + _USUAL_SIZE]
        if len(data) < _PREFIX_SIZE or data[0] != _MARK:
            return None
        end = _PREFIX_SIZE + int.from_bytes(data[1:_PREFIX_SIZE], "big")
        return (data, end) if end <= len(data) else None


def _decode(payload: bytes | memoryview, offset: int) -> Mock:
    try:
        return _mock_of_fields(unpack_document(payload))
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise MockFileError(f"damaged mock ({error})", offset) from error


def iter_offsets(file: BinaryIO) -> Iterator[int]:
    """The offsets of all mocks, by their lengths alone.  Raises ``MockFileError``."""
    end = file.seek(0, io.SEEK_END)
    offset = file.seek(0)
    while (size := _read_size(file, offset)) is not None:
        if offset + _PREFIX_SIZE + size > end:
            raise MockFileError("the last mock is cut off", offset)
        yield offset
        offset = file.seek(offset + _PREFIX_SIZE + size)


def iter_names(file: BinaryIO) -> Iterator[str]:
    """The names of all mocks, without decoding the rest.  Raises ``MockFileError``."""
    for offset in iter_offsets(file):
        file.seek(offset + _PREFIX_SIZE)
        yield _peek_name(file.read(_HEAD_SIZE)) or _name_of(file, offset)
        file.seek(offset)


def _peek_name(head: bytes) -> str | None:
    """The name, if it is the first thing there and short, as it was written."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(head)
    try:
        unpacker.read_map_header()
        key, name = unpacker.unpack(), unpacker.unpack()
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return str(name) if key == "name" else None


def _name_of(file: BinaryIO, offset: int) -> str:
    file.seek(offset)
    mock = read_mock(file)
    return "" if mock is None else mock.name


def _read_size(file: BinaryIO, offset: int) -> int | None:
    prefix = file.read(_PREFIX_SIZE)
    if not prefix:
        return None
    if len(prefix) < _PREFIX_SIZE or prefix[0] != _MARK:
        raise MockFileError("no mock starts here", offset)
    return int.from_bytes(prefix[1:], "big")


def _pack_other(value: Any) -> Any:
    if isinstance(value, int):
        return msgpack.ExtType(_BIG_INTEGER, str(value).encode())
    raise TypeError(f"{type(value).__name__} has no place in a mock")


def _unpack_other(code: int, data: bytes) -> Any:
    if code != _BIG_INTEGER:
        raise ValueError(f"unknown extension type {code}")
    return int(data)


def _fields_of_mock(mock: Mock) -> dict[str, Any]:
    return {
        "name": mock.name,
        "protocol": mock.protocol,
        "destination": str(mock.destination),
        "request": mock.request,
        "response": mock.response,
        "timing": [mock.timing.start_ns, mock.timing.end_ns],
        "tier": mock.tier.value,
        "connection": mock.connection,
        "case": mock.case,
        "candidates": mock.candidates,
        "evidence": mock.evidence.value,
        "generated": mock.generated,
        "calls": mock.calls,
        **({"is_by_reader": True} if mock.is_by_reader else {}),
        **({"tasks": mock.tasks} if mock.tasks else {}),
        **({} if mock.tls is None else {"tls": fields_of_tls(mock.tls)}),
    }


def fields_of_tls(tls: Tls) -> dict[str, str]:
    """What is known of it."""
    return {name: value for name, value in asdict(tls).items() if value}


_parse_endpoint = lru_cache(1024)(Endpoint.parse)


def _mock_of_fields(fields: dict[str, Any]) -> Mock:
    start_ns, end_ns = fields["timing"]
    return Mock(
        name=fields["name"],
        protocol=fields["protocol"],
        destination=_parse_endpoint(fields["destination"]),
        request=fields["request"],
        response=fields["response"],
        timing=Timing(start_ns, end_ns),
        tier=_TIERS[fields["tier"]],
        connection=fields["connection"],
        case=fields["case"],
        candidates=fields["candidates"],
        evidence=_EVIDENCE[fields["evidence"]],
        generated=fields["generated"],
        calls=fields["calls"],
        is_by_reader=fields.get("is_by_reader", False),
        tasks=fields.get("tasks", []),
        tls=Tls(**fields["tls"]) if "tls" in fields else None,
    )
