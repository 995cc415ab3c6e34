"""The backlog between reader and assembler: a stream of runs in memory that two processes share.

It is one memfd, so its bytes never reach a disk and are gone with the processes, however these
end.  The first page holds where each side is; then come ``quota`` bytes, used in a circle.  Pages
are the kernel's again as soon as what they hold was read.
"""

from __future__ import annotations

import mmap
import os
import struct

PAGE = mmap.PAGESIZE
DEFAULT_QUOTA = 64 << 20  # bytes
LEAST_QUOTA = 4 << 20

_FRAME = struct.Struct("=Q")  # before each run: its size
_WRITTEN, _READ, _LOOKED = 0, 1, 2  # words of the first page


class Spool:
    """Made before the processes part: one writes, the other reads; ``quota`` is in bytes.

    Positions count all bytes ever written; both sides may look at them at any time.
    """

    def __init__(self, quota: int = DEFAULT_QUOTA) -> None:
        self.quota = -(-max(quota, LEAST_QUOTA) // PAGE) * PAGE
        self._descriptor = os.memfd_create("kebpf-backlog", os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, PAGE + self.quota)
        self._map = mmap.mmap(self._descriptor, PAGE + self.quota)  # only its first page is used
        self._view = memoryview(self._map)
        self._words = self._view[:PAGE].cast("Q")
        self._freed = 0

    @property
    def descriptor(self) -> int:
        """Of the memory that both sides share."""
        return self._descriptor

    @property
    def backlog_size(self) -> int:
        """Bytes written and not yet read."""
        return self._words[_WRITTEN] - self._words[_READ]

    @property
    def room(self) -> int:
        """How large a run may be that is written now."""
        return max(0, self.quota - self.backlog_size - _FRAME.size)

    @property
    def looked_ns(self) -> int:
        """All that happened before this time (CLOCK_MONOTONIC) was written."""
        return self._words[_LOOKED]

    def write(self, run: bytes) -> None:
        """Appends a run, for which there is `room`.

        Raises ``OSError`` when the host has no memory left for it.
        """
        if len(run) > self.room:
            raise ValueError(f"{len(run)} bytes do not fit into {self.room}")
        at = self._words[_WRITTEN]
        self._put(at, _FRAME.pack(len(run)))
        self._put(at + _FRAME.size, run)
        self._words[_WRITTEN] = at + _FRAME.size + len(run)

    def note_look(self, time_ns: int) -> None:
        """All that happened before ``time_ns`` is written by now."""
        self._words[_LOOKED] = time_ns

    def read(self) -> bytes:
        """The next run; empty when there is none."""
        at = self._words[_READ]
        if at == self._words[_WRITTEN]:
            return b""
        size = int(_FRAME.unpack(self._get(at, _FRAME.size))[0])
        run = self._get(at + _FRAME.size, size)
        at += _FRAME.size + size
        self._free(at)
        self._words[_READ] = at
        return run

    def close(self) -> None:
        """This process uses it no more."""
        self._words.release()
        self._view.release()
        self._map.close()
        os.close(self._descriptor)

    def _put(self, position: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            start = position % self.quota
            written = os.pwrite(self._descriptor, rest[: self.quota - start], PAGE + start)
            position, rest = position + written, rest[written:]

    def _get(self, position: int, size: int) -> bytes:
        start = position % self.quota
        first = min(size, self.quota - start)
        data = os.pread(self._descriptor, first, PAGE + start)
        return data if first == size else data + self._get(position + first, size - first)

    def _free(self, until: int) -> None:
        """Gives back the whole pages before a position, before they can be written again."""
        until -= until % PAGE
        while self._freed < until:
            start = self._freed % self.quota
            size = min(until - self._freed, self.quota - start)
            self._map.madvise(mmap.MADV_REMOVE, PAGE + start, size)
            self._freed += size
