"""Reads a BPF ring buffer by memory mapping: whole runs of records in one copy.

The layout is the kernel's (kernel/bpf/ringbuf.c): a consumer page, a producer page, and the data
mapped twice in a row, so that a run never wraps.
"""

from __future__ import annotations

import mmap
import select
import struct

_POSITION = struct.Struct("=Q")
_RECORD = struct.Struct("=II")
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_SIZE_MASK = _DISCARDED - 1
RECORD_HEAD_SIZE = _RECORD.size


def record_span(length_word: int) -> int:
    """Bytes a record takes with its head, rounded up to eight, from its head's first word."""
    return ((length_word & _SIZE_MASK) + RECORD_HEAD_SIZE + 7) & ~7


class RingBuffer:
    """The consumer of one ring of ``size`` bytes (a power of two)."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._page = mmap.PAGESIZE
        self._consumer = mmap.mmap(descriptor, self._page)
        self._data = mmap.mmap(
            descriptor,
            self._page + 2 * size,
            mmap.MAP_SHARED,
            mmap.PROT_READ,
            offset=self._page,
        )
        self._view = memoryview(self._data)
        self._poll = select.epoll()
        self._poll.register(descriptor, select.EPOLLIN)
        self._position = _POSITION.unpack_from(self._consumer)[0]

    def fileno(self) -> int:
        """Readable once the kernel forced a wakeup: for an event loop."""
        return self._descriptor

    def wait(self, seconds: float) -> None:
        """Returns when the kernel forces a wakeup, or after ``seconds``."""
        self._poll.poll(seconds)

    def drain(self, most: int = 1 << 20) -> bytes:
        """All finished records up to about ``most`` bytes, heads included; may be empty."""
        end: int = _POSITION.unpack_from(self._data)[0]
        start = position = self._position
        mask, page, data, unpack = self._size - 1, self._page, self._data, _RECORD.unpack_from
        while position < end and position - start < most:
            word = unpack(data, page + (position & mask))[0]
            if word & _BUSY:
                break
            position += record_span(word)
        if position == start:
            return b""
        first = page + (start & mask)
        run = bytes(self._view[first : first + position - start])
        self._position = position
        _POSITION.pack_into(self._consumer, 0, position)
        return run

    @property
    def fill(self) -> float:
        """How full the ring is, from 0 to 1."""
        return float(_POSITION.unpack_from(self._data)[0] - self._position) / self._size

    def close(self) -> None:
        self._poll.close()
        self._view.release()
        self._data.close()
        self._consumer.close()
