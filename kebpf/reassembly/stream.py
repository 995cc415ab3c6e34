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
    """The next bytes of a stream, or with ``data`` None a gap of ``size`` bytes.

    ``task`` is the asyncio task that sent them, by when it was made; 0 where none is known.
    """

    offset: int
    size: int
    time_ns: int
    tid: int
    data: bytes | None
    task: int = 0


def unwrap(sequence: int, base: int, near: int) -> int:
    """The offset of a 32-bit TCP sequence number, being the one nearest to offset ``near``."""
    step = (sequence - base - near) % _WHOLE
    return near + (step - _WHOLE if step >= _HALF else step)


class Stream:
    """Orders pieces; what does not come is a gap once more than it was expected to was held.

    ``position`` is the offset of the next byte to give; ``captured_size`` and ``gap_size`` sum up
    what was given; ``overlap_size`` counts bytes that came twice; ``contested_size`` are the bytes
    of gaps whose order cannot be known.  ``held`` are the pieces that wait for an
    earlier one: while it is empty, one that begins at ``position`` is the next.

    A piece's offset is read when its call is over, so while several threads use one socket it may
    be too high, by what the others moved meanwhile, but never too low.  So pieces that follow one
    another without an overlap are where they say.  Where one is too high it leaves a hole at its
    true place and overlaps others behind: once as many bytes came as there is room for from the
    hole on, they are just those that belong there, in an order that nobody knows: a gap.
    """

    __slots__ = (
        "_count",
        "_held_end",
        "_held_size",
        "captured_size",
        "contested_size",
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
        self.contested_size = 0
        self.held: list[tuple[int, int, Piece]] = []
        self._held_size = 0
        self._held_end = 0
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
            given: list[Piece] = []
        elif not self.held:
            return self._pass_on(piece)
        else:
            given = self._pass_on(piece) + self._take_held()
        if self.held and self._held_size >= self._held_end - self.position:
            given += self._settle_contest()
        elif self._held_size > MOST_HELD_SIZE:
            given += self.give_up()
        return given

    def give_up(self) -> list[Piece]:
        """Declares the missing piece before the held ones a gap."""
        if not self.held:
            return []
        if self._has_overlap():
            return self._give_contested(self._held_end)
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
        self._held_end = max(self._held_end, piece.offset + piece.size)

    def _has_overlap(self) -> bool:
        end = self.position
        for offset, _, piece in sorted(self.held):
            if offset < end:
                return True
            end = offset + piece.size
        return False

    def _settle_contest(self) -> list[Piece]:
        """All that was missing came, but not to where it was missing."""
        given: list[Piece] = []
        while self.held and self.held[0][0] > self.position:
            given += self._give_contested(self._find_contest_end())
        return given

    def _find_contest_end(self) -> int:
        """Where as many bytes are claimed as there is room for."""
        claimed, end = 0, self.position
        for offset, _, piece in sorted(self.held):
            if claimed and claimed >= end - self.position and offset >= end:
                break
            claimed += piece.size
            end = max(end, offset + piece.size)
        return end

    def _give_contested(self, end: int) -> list[Piece]:
        """A gap up to ``end`` instead of the pieces held before that."""
        first = self.held[0][2]
        self.contested_size += end - self.position
        gap = Piece(self.position, end - self.position, first.time_ns, first.tid, None)
        while self.held and self.held[0][0] < end:
            self._held_size -= heapq.heappop(self.held)[2].size
        return self._pass_on(gap) + self._take_held()

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
            size = piece.size - overlap  # a part of a record is never missing: nor is this right
            self.contested_size += size
            piece = Piece(self.position, size, piece.time_ns, piece.tid, None)
        self.position += piece.size
        if piece.data is None:
            self.gap_size += piece.size
        else:
            self.captured_size += piece.size
        return [piece]
