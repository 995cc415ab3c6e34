"""Finds struct offsets in the kernel's own type information (BTF).

The format is described in the kernel documentation, "BPF Type Format (BTF)", sections 2 and 3.
Only what an offset needs is decoded: structs, unions, and the modifiers between a member and
its struct.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

from kebpf.kernel.errors import KernelError

VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")

_INT, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT = 8, 9, 10, 11
_FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _TYPE_TAG, _ENUM64 = 13, 14, 15, 17, 18, 19
_MODIFIERS = frozenset((_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG))
_KNOWN_KINDS = 20
_MOST_MODIFIERS = 32  # in a row; sane types have three or four

# Bytes that follow a type's 12-byte head: a fixed part, and a part for each of its ``vlen``.
_FIXED_TAIL = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_TAIL_PER_MEMBER = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}


@contextlib.contextmanager
def _rejecting_damage() -> Iterator[None]:
    """Positions and numbers that lead out of the blob are damage, whatever they run into."""
    try:
        yield
    except (struct.error, LookupError, ValueError, RecursionError):
        raise KernelError("the kernel's type information (BTF) is damaged") from None


class Btf:
    """The types of one BTF blob.  Raises `KernelError` when the blob is not BTF."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
            raise KernelError("the kernel's type information is not BTF", "see `kebpf doctor`")
        _, _, _, header, type_offset, type_size, string_offset, _ = _HEADER.unpack_from(data)
        self._data = data
        self._strings = header + string_offset
        self._types = array("I", (0,))  # type id → position of its head; id 0 is void
        self._structs: dict[str, int] = {}
        self._unread = (header + type_offset, header + type_offset + type_size)

    @classmethod
    def load(cls, path: Path = VMLINUX_BTF) -> Btf:
        """Reads the running kernel's types.  Raises `KernelError`."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise KernelError(
                f"this kernel has no BTF type information ({path}: {error.strerror})",
                "kebpf needs a kernel built with CONFIG_DEBUG_INFO_BTF (Debian 11, Ubuntu 20.10, "
                "RHEL 8.2 or newer have it)",
            ) from None

    def offset(self, struct_name: str, path: str) -> int:
        """Byte offset of a member, ``path`` being dotted (``__sk_common.skc_family``).

        Members of anonymous structs and unions are found as in C.  Raises `KernelError`.
        """
        self._index_types()
        type_id = self._structs.get(struct_name)
        if type_id is None:
            raise KernelError(f"this kernel has no struct {struct_name}")
        with _rejecting_damage():
            offset = self._find_offset(type_id, path)
        if offset is None:
            raise KernelError(f"this kernel's struct {struct_name} has no member {path}")
        return offset

    def has(self, struct_name: str, path: str) -> bool:
        """Whether `offset` would find it."""
        try:
            self.offset(struct_name, path)
        except KernelError:
            return False
        return True

    def has_name(self, name: str) -> bool:
        """Whether anything has this name (each raw tracepoint has a typedef ``btf_trace_…``)."""
        return self._data.find(b"\0" + name.encode() + b"\0", self._strings) >= 0

    def digest(self) -> str:
        """The same for the same types."""
        return hashlib.sha256(self._data).hexdigest()

    def _index_types(self) -> None:
        """Once, and only when offsets are asked for: it takes a while."""
        if self._unread[0] < self._unread[1]:
            with _rejecting_damage():
                self._index(*self._unread)
            self._unread = (0, 0)

    def _index(self, position: int, end: int) -> None:
        data, types, structs, unpack = self._data, self._types, self._structs, _TYPE.unpack_from
        while position < end:
            name, info, _ = unpack(data, position)
            kind, vlen = (info >> 24) & 0x1F, info & 0xFFFF
            if kind >= _KNOWN_KINDS:
                raise KernelError(f"this kernel's BTF has types of an unknown kind ({kind})")
            if kind == _STRUCT and name:
                structs.setdefault(self._string(name), len(types))
            types.append(position)
            position += 12 + _FIXED_TAIL.get(kind, 0) + _TAIL_PER_MEMBER.get(kind, 0) * vlen

    def _string(self, offset: int) -> str:
        start = self._strings + offset
        return self._data[start : self._data.index(b"\0", start)].decode()

    def _find_offset(self, type_id: int, path: str) -> int | None:
        total = 0
        for field in path.split("."):
            found = self._find_member(type_id, field)
            if found is None:
                return None
            total += found[0]
            type_id = self._resolve(found[1])
        return total

    def _kind(self, type_id: int) -> int:
        if type_id == 0:
            return 0
        info: int = _TYPE.unpack_from(self._data, self._types[type_id])[1]
        return (info >> 24) & 0x1F

    def _resolve(self, type_id: int) -> int:
        for _ in range(_MOST_MODIFIERS):
            if self._kind(type_id) not in _MODIFIERS:
                return type_id
            type_id = _TYPE.unpack_from(self._data, self._types[type_id])[2]
        raise ValueError("modifiers without end")

    def _find_member(self, type_id: int, field: str) -> tuple[int, int] | None:
        if self._kind(type_id) not in (_STRUCT, _UNION):
            return None
        position = self._types[type_id]
        info = _TYPE.unpack_from(self._data, position)[1]
        has_bitfields = info >> 31
        for index in range(info & 0xFFFF):
            name, member, bits = _MEMBER.unpack_from(self._data, position + 12 + 12 * index)
            offset = ((bits & 0xFFFFFF) if has_bitfields else bits) // 8
            if name and self._string(name) == field:
                return offset, member
            inner = self._resolve(member)
            found = None if name else self._find_member(inner, field)
            if found is not None:
                return offset + found[0], found[1]
        return None
