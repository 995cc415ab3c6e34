"""The few bpf(2) commands a resident process needs: load, attach, link, read and write maps.

See bpf(2) and the kernel's include/uapi/linux/bpf.h for the layouts of ``union bpf_attr``.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280}
_ATTR_SIZE = 128

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD = 0, 1, 2, 3, 5
_PROG_TEST_RUN = 10
_MAP_LOOKUP_BATCH = 24
_FIRST_BATCH = 1 << 10
_RAW_TRACEPOINT_OPEN = 17
_LINK_CREATE = 28

KPROBE = 2  # also for uprobes
RAW_TRACEPOINT = 17
CGROUP_SOCK_ADDR = 18
CGROUP_SKB = 8
SOCK_OPS = 13
UPROBE_MULTI = 48  # an attach type, of KPROBE

INSTRUCTION_SIZE = 8  # bytes

libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attr, _ATTR_SIZE))


def _call(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    number = _SYSCALL_NUMBERS[platform.machine()]
    result = int(libc.syscall(number, command, attr, _ATTR_SIZE))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@dataclass(frozen=True, slots=True)
class MapShape:
    """What a map is made by: bpf_map_type, sizes in bytes, BPF_F_… flags."""

    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int


def create_map(name: str, shape: MapShape) -> int:
    """A new map's descriptor.  Raises ``OSError``."""
    numbers = (shape.kind, shape.key_size, shape.value_size, shape.entries, shape.flags)
    return _bpf(_MAP_CREATE, struct.pack("=5I8x15sx", *numbers, name.encode()))


def load_program(name: str, kind: int, attach_type: int, code: bytes, terms: str) -> int:
    """Loads instructions under the licence ``terms``; a descriptor.  Raises ``OSError``.

    The kernel sees the first 15 characters of the name; ``attach_type`` is -1 for none.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    told = ctypes.create_string_buffer(terms.encode())
    addresses = (ctypes.addressof(instructions), ctypes.addressof(told))
    head = struct.pack("=IIQQ24x", kind, len(code) // INSTRUCTION_SIZE, *addresses)
    return _bpf(_PROG_LOAD, head + struct.pack("=15sxII", name.encode(), 0, max(attach_type, 0)))


def attach_raw_tracepoint(program: int, name: str) -> int:
    """Attaches a program to a raw tracepoint; the descriptor holds it.  Raises ``OSError``."""
    text = ctypes.create_string_buffer(name.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", ctypes.addressof(text), program))


def link_to_cgroup(program: int, cgroup: int, attach_type: int) -> int:
    """Links a program to a cgroup (a folder's descriptor).  Raises ``OSError``."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, cgroup, attach_type, 0))


def link_to_uprobes(
    program: int, path: str, offsets: Sequence[int], pid: int, is_return: bool
) -> int:
    """Links a program of `UPROBE_MULTI` to places of a file in one process; a descriptor.

    Raises ``OSError``.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    places = struct.pack(f"={len(offsets)}Q", *offsets)
    buffer = ctypes.create_string_buffer(places, len(places))
    head = struct.pack("=IIII", program, 0, UPROBE_MULTI, 0)
    tail = struct.pack(
        "=QQQQIII",
        ctypes.addressof(name),
        ctypes.addressof(buffer),
        0,
        0,
        len(offsets),
        is_return,  # BPF_F_UPROBE_MULTI_RETURN
        pid,
    )
    return _bpf(_LINK_CREATE, head + tail)


def run_raw_tracepoint(program: int, arguments: Sequence[int]) -> None:
    """Runs a raw tracepoint's program here and now, as if it had fired.

    Raises ``OSError``, also where the kernel cannot (before 5.10).
    """
    context = struct.pack(f"={len(arguments)}Q", *arguments)
    buffer = ctypes.create_string_buffer(context, len(context))
    attr = struct.pack("=II8xQQIIII", program, 0, 0, 0, 0, 0, len(context), 0)
    _bpf(_PROG_TEST_RUN, attr + struct.pack("=Q", ctypes.addressof(buffer)))


class CounterMap:
    """An array made with BPF_F_MMAPABLE, whose values are read in memory, without a call.

    A value of ``value_size`` bytes holds 64-bit counters.
    """

    def __init__(self, descriptor: int, entries: int, value_size: int) -> None:
        size = -(-entries * value_size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._view = memoryview(self._map)
        self._counters = self._view[: entries * value_size].cast("Q")
        self._step = value_size // self._counters.itemsize

    def counters(self, at: int) -> memoryview[int]:
        """The counter at that place in each value, as it is whenever one looks."""
        return self._counters[at :: self._step]

    def close(self) -> None:
        """What `counters` gave was released before."""
        self._counters.release()
        self._view.release()
        self._map.close()


class Map:
    """A BPF map by descriptor; keys and values are bytes.  Methods raise ``OSError``."""

    def __init__(self, descriptor: int, key_size: int, value_size: int) -> None:
        self.descriptor = descriptor
        self._key_size = key_size
        self._value_size = value_size

    def __getitem__(self, key: bytes) -> bytes:
        """The value; ``KeyError`` when there is none."""
        value = ctypes.create_string_buffer(self._value_size)
        try:
            self._run(_MAP_LOOKUP, key, value)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise KeyError(key) from None
            raise
        return value.raw

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._run(_MAP_UPDATE, key, ctypes.create_string_buffer(value, len(value)))

    def __delitem__(self, key: bytes) -> None:
        self._run(_MAP_DELETE, key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries of a hash map; those that come or go meanwhile may be missed."""
        size, place, is_first = _FIRST_BATCH, ctypes.create_string_buffer(8), True
        while True:
            keys = ctypes.create_string_buffer(size * self._key_size)
            values = ctypes.create_string_buffer(size * self._value_size)
            try:
                count, is_last = self._look_up_batch(place, is_first, keys, values, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:  # else more than that are in one bucket
                    raise
                size *= 2
                continue
            is_first = False
            key_bytes, value_bytes = keys.raw, values.raw
            for at in range(count):
                key_at, value_at = at * self._key_size, at * self._value_size
                yield (
                    key_bytes[key_at : key_at + self._key_size],
                    value_bytes[value_at : value_at + self._value_size],
                )
            if is_last:
                return

    def _look_up_batch(
        self,
        place: ctypes.Array[ctypes.c_char],
        is_first: bool,
        keys: ctypes.Array[ctypes.c_char],
        values: ctypes.Array[ctypes.c_char],
        size: int,
    ) -> tuple[int, bool]:
        """How many entries came, and whether they are the last; ``place`` is where it goes on."""
        at = ctypes.addressof(place)
        attr = ctypes.create_string_buffer(
            struct.pack(
                "=QQQQIIQQ",
                0 if is_first else at,
                at,
                ctypes.addressof(keys),
                ctypes.addressof(values),
                size,
                self.descriptor,
                0,
                0,
            ),
            _ATTR_SIZE,
        )
        is_last = False
        try:
            _call(_MAP_LOOKUP_BATCH, attr)
        except FileNotFoundError:
            is_last = True
        count: int = struct.unpack_from("=I", attr, 32)[0]
        return count, is_last

    def close(self) -> None:
        os.close(self.descriptor)

    def _run(
        self, command: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None
    ) -> None:
        key_buffer = None if key is None else ctypes.create_string_buffer(key, len(key))
        attr = struct.pack(
            "=I4xQQQ",
            self.descriptor,
            0 if key_buffer is None else ctypes.addressof(key_buffer),
            0 if value is None else ctypes.addressof(value),
            0,
        )
        _bpf(command, attr)
