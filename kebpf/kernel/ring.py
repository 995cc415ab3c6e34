"""Reads a BPF ring buffer by memory mapping: whole runs of records in one copy.

The layout is the kernel's (kernel/bpf/ringbuf.c): a consumer page, a producer page, and the data
mapped twice in a row, so that a run never wraps.  Both positions are read and written as native
words, in one access each: the kernel reads the consumer's at any moment, and half of a new one
would tell it of room that is not there, or hide room that is.
"""

from __future__ import annotations

import mmap
import os
import select

_BUSY = 1 << 31
_DISCARDED = 1 << 30
_SIZE_MASK = _DISCARDED - 1
_LOOKS = 4  # until each record is looked at: one is being written at a hundredth of them
RECORD_HEAD_SIZE = 8  # struct bpf_ringbuf_hdr


def record_span(length_word: int) -> int:
    """Bytes a record takes with its head, rounded up to eight, from its head's first word."""
    return ((length_word & _SIZE_MASK) + RECORD_HEAD_SIZE + 7) & ~7


class RingBuffer:
    """The consumer of one ring of ``size`` bytes (a power of two).

    ``written`` are counters of the bytes of whole records, heads included, which add up to no more
    than what the ring has given out.  While they are as much, no record is being written, and a
    run is taken without a look at each.  It is released with the ring.
    """

    def __init__(self, descriptor: int, size: int, written: memoryview[int] | None = None) -> None:
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
        pages = memoryview(self._data)
        self._bytes = pages[self._page :]
        self._words = self._bytes.cast("I")
        self._produced = pages[:8].cast("Q")
        self._consumed = memoryview(self._consumer)[:8].cast("Q")
        self._views = (pages, self._bytes, self._words, self._produced, self._consumed)
        self._written = written
        self._poll = select.epoll()
        self._poll.register(descriptor, select.EPOLLIN)
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._woken, select.EPOLLIN)
        self._position = self._consumed[0]

    def fileno(self) -> int:
        """Readable once the kernel forced a wakeup: for an event loop."""
        return self._descriptor

    def wait(self, seconds: float) -> None:
        """Returns when the kernel forces a wakeup or `wake` does, or after ``seconds``."""
        for descriptor, _ in self._poll.poll(seconds):
            if descriptor == self._woken:
                os.eventfd_read(self._woken)

    def wake(self) -> None:
        """Has `wait` return, or the next one at once; any thread may call it."""
        os.eventfd_write(self._woken, 1)

    def drain(self, most: int = 1 << 20) -> bytes:
        """All finished records up to about ``most`` bytes, heads included; may be empty."""
        start = self._position
        first = start & (self._size - 1)  # a run may go on in the second mapping
        whole = self._count_whole() - start
        if whole and whole <= most:
            return self._take(first, first + whole)
        return self._take(first, self._walk(first, min(self._produced[0] - start, most)))

    def _walk(self, first: int, available: int) -> int:
        """Where the last finished record ends of those that begin within ``available`` bytes."""
        words, word, end = self._words, first >> 2, (first + available) >> 2
        while word < end:
            size = words[word]
            if size >= _DISCARDED:  # or busy
                if size & _BUSY:
                    break
                size ^= _DISCARDED
            word += (size + RECORD_HEAD_SIZE + 7) >> 3 << 1
        return word << 2

    def _count_whole(self) -> int:
        """Up to where all records are whole: all that was given out, or what was taken already."""
        written = self._written
        if written is None:
            return self._position
        for _ in range(_LOOKS):
            size = sum(written)  # before the other: what is being written is in neither then
            if size == self._produced[0]:
                return size
        return self._position

    def _take(self, first: int, behind: int) -> bytes:
        if first == behind:
            return b""
        run = bytes(self._bytes[first:behind])
        self._position += behind - first
        self._consumed[0] = self._position
        return run

    @property
    def fill(self) -> float:
        """How full the ring is, from 0 to 1."""
        return float(self._produced[0] - self._position) / self._size

    def close(self) -> None:
        self._poll.close()
        os.close(self._woken)
        if self._written is not None:
            self._written.release()
        for view in reversed(self._views):
            view.release()
        self._data.close()
        self._consumer.close()
