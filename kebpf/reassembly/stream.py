"""One direction of a connection: pieces by absolute offset in, ordered bytes and gaps out."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

_HALF = 1 << 31
_WHOLE = 1 << 32

#: Bytes held because an earlier piece is missing, before that piece is given up as a gap.
MOST_HELD_SIZE = 4 << 20


@dataclass(slots=True)  # not frozen: that makes it three times as dear
class Piece:
    """The next bytes of a stream, or with ``data`` None a gap of ``size`` bytes."""

    offset: int
    size: int
    time_ns: int
    tid: int
    data: bytes | None


def unwrap(sequence: int, base: int, near: int) -> int:
    """The offset of a 32-bit TCP sequence number, being the one nearest to offset ``near``."""
    step = (sequence - base - near) % _WHOLE
    return near + (step - _WHOLE if step >= _HALF else step)


class Stream:
    """Orders pieces; what does not come is a gap once more than it was expected to was held.

    ``position`` is the offset of the next byte to give; ``captured_size`` and ``gap_size`` sum up
    what was given; ``overlap_size`` counts bytes that came twice.  ``held`` are the pieces
    that wait for an earlier one: while it is empty, one that begins at ``position`` is the next.
    """

    __slots__ = (
        "_count",
        "_held_size",
        "captured_size",
        "gap_size",
        "held",
        "overlap_size",
        "position",
    )

    def __init__(self) -> None:
        self.position = 0
        self.captured_size = 0
        self.gap_size = 0
        self.overlap_size = 0
        self.held: list[tuple[int, int, Piece]] = []
        self._held_size = 0
        self._count = 0

    @property
    def held_since_ns(self) -> int | None:
        """The time of the oldest piece that waits for an earlier one."""
        return min((piece.time_ns for _, _, piece in self.held), default=None)

    @property
    def is_waiting(self) -> bool:
        """Whether an earlier piece is still missing."""
        return bool(self.held)

    def add(self, piece: Piece) -> list[Piece]:
        """Takes a piece; gives what is now in order."""
        if piece.offset > self.position:
            self._hold(piece)
            return self.give_up() if self._held_size > MOST_HELD_SIZE else []
        if not self.held:
            return self._pass_on(piece)
        return self._pass_on(piece) + self._take_held()

    def give_up(self) -> list[Piece]:
        """Declares the missing piece before the held ones a gap."""
        if not self.held:
            return []
        first = self.held[0][2]
        gap = Piece(self.position, first.offset - self.position, first.time_ns, first.tid, None)
        return self._pass_on(gap) + self._take_held()

    def close(self, end: int, time_ns: int) -> list[Piece]:
        """The stream ended at ``end``: gives what is held, and what is missing as gaps."""
        given: list[Piece] = []
        while self.held:
            given += self.give_up()
        if end > self.position:
            given += self._pass_on(Piece(self.position, end - self.position, time_ns, 0, None))
        return given

    def _hold(self, piece: Piece) -> None:
        self._count += 1
        heapq.heappush(self.held, (piece.offset, self._count, piece))
        self._held_size += piece.size

    def _take_held(self) -> list[Piece]:
        given: list[Piece] = []
        while self.held and self.held[0][0] <= self.position:
            piece = heapq.heappop(self.held)[2]
            self._held_size -= piece.size
            given += self._pass_on(piece)
        return given

    def _pass_on(self, piece: Piece) -> list[Piece]:
        overlap = self.position - piece.offset
        if overlap > 0:
            self.overlap_size += min(overlap, piece.size)
            if overlap >= piece.size:
                return []
            data = None if piece.data is None else piece.data[overlap:]
            size = piece.size - overlap
            piece = Piece(self.position, size, piece.time_ns, piece.tid, data)
        self.position += piece.size
        if piece.data is None:
            self.gap_size += piece.size
        else:
            self.captured_size += piece.size
        return [piece]
