"""Puts the pieces of a connection's two directions into the order of their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from kebpf.capture.events import Direction
from kebpf.reassembly.stream import Piece


class TimeOrder:
    """Keeps pieces until nothing earlier can come; ``size`` is the bytes it keeps.

    Within a direction the order is that of the stream, whatever the times say.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pieces: tuple[deque[Piece], deque[Piece]] = (deque(), deque())

    def add(self, direction: Direction, pieces: Iterable[Piece]) -> None:
        """Takes the next pieces of one direction."""
        for piece in pieces:
            self._pieces[direction].append(piece)
            self.size += piece.size

    def take(self, before_ns: int | None) -> list[tuple[Direction, Piece]]:
        """The pieces from before ``before_ns``, since when another waits; all if it is ``None``."""
        given: list[tuple[Direction, Piece]] = []
        while (direction := self._find_earliest()) is not None:
            pieces = self._pieces[direction]
            if before_ns is not None and pieces[0].time_ns >= before_ns:
                break
            self.size -= pieces[0].size
            given.append((direction, pieces.popleft()))
        return given

    def _find_earliest(self) -> Direction | None:
        filled = [direction for direction in Direction if self._pieces[direction]]
        return min(filled, key=lambda one: self._pieces[one][0].time_ns, default=None)
