"""Holds the bytes of one direction that are not parsed yet, and where each of them came from."""

from __future__ import annotations

from collections import deque

from kebpf.protocols.base import Mark


class MarkedBuffer:
    """Bytes with the marks of the pieces they came in."""

    __slots__ = ("_pieces", "_position", "data", "last")

    def __init__(self) -> None:
        self.data = bytearray()
        self.last = Mark(0)  # of the piece that held the byte taken last
        self._pieces: deque[tuple[int, Mark]] = deque()  # position of its first byte, mark
        self._position = 0

    def append(self, data: bytes, mark: Mark) -> None:
        """Adds a piece."""
        if data:
            self._pieces.append((self._position + len(self.data), mark))
            self.data += data

    def get_piece(self) -> Mark:
        """The mark of the piece that holds the next byte; there must be one."""
        return self._pieces[0][1]

    def get_mark(self) -> Mark:
        """The mark of the next byte itself; there must be one."""
        start, mark = self._pieces[0]
        return mark._replace(offset=mark.offset + self._position - start)

    def take(self, size: int) -> bytes:
        """Removes up to ``size`` bytes from the front."""
        taken = bytes(self.data[:size])
        if taken:
            del self.data[: len(taken)]
            self._position += len(taken)
            self._drop_before(self._position - 1)
            self.last = self._pieces[0][1]
            self._drop_before(self._position)
        return taken

    def clear(self) -> None:
        """Forgets what is left."""
        self._position += len(self.data)
        self.data.clear()
        self._pieces.clear()

    def _drop_before(self, position: int) -> None:
        while len(self._pieces) > 1 and self._pieces[1][0] <= position:
            self._pieces.popleft()
        if not self.data and position == self._position:
            self._pieces.clear()
