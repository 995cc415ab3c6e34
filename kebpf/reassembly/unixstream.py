"""What a target writes to a Unix socket, which numbers no bytes: whole, or a gap where it is not.

A write is where it says if no other was under way as it ended, and so is all that was written
before it: it settles what was not certain until then.  What cannot have overlapped is in order;
where calls may have, nobody knows how their bytes lie among each other, and all are a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

from kebpf.capture.events import Overlap
from kebpf.reassembly.stream import MOST_HELD_SIZE, Piece, Stream

_MANY = Overlap.MANY.value
_MOST_SEEN = 256
_MARGIN_NS = 1_000_000  # between a probe's look at a socket and its record


@dataclass(slots=True)
class Write:
    """A piece of a call whose bytes go up to ``call_end``.

    So many others were under way then, ``overlaps``; ``other`` is the thread of the only one, or 0.
    """

    piece: Piece
    call_end: int
    overlaps: int
    other: int


class UnixStream(Stream):
    """`take` instead of `add` once a call was not alone, which ``is_shared`` says from then on.

    ``unsettled`` are the writes whose place is not certain yet.

    Where none settles them (a probe that looks late, a descriptor that processes share), they are
    taken to be all there was once the other side has answered, or nothing came for long: until
    several threads were seen to write at once.
    """

    __slots__ = (
        "_asleep",
        "_is_contested",
        "_seen_ns",
        "_spent",
        "_unsettled_size",
        "is_shared",
        "unsettled",
    )

    def __init__(self) -> None:
        super().__init__()
        self.unsettled: list[Write] = []
        self._unsettled_size = 0
        self._spent = 0  # up to there all is given, whatever comes late
        self.is_shared = False
        self._is_contested = False
        self._asleep = 0  # a thread in a call of which nothing was seen since
        self._seen_ns: dict[int, int] = {}  # when a thread's last call ended

    @property
    def held_since_ns(self) -> int | None:
        if not self.held and not self.unsettled:
            return None
        since_ns = super().held_since_ns
        if not self.unsettled:
            return since_ns
        first_ns = self.unsettled[0].piece.time_ns
        return first_ns if since_ns is None else min(first_ns, since_ns)

    @property
    def is_waiting(self) -> bool:
        return bool(self.held or self.unsettled)

    def take(self, piece: Piece, call_end: int, overlaps: int, other: int) -> list[Piece]:
        """What a `Write` is made of; gives what is now in order."""
        self.is_shared = True
        if piece.offset < self._spent:
            return []
        if other:
            self._note_sleeper(other, piece.time_ns)
        if not overlaps and not self.unsettled:
            return self.add(piece)
        self._see(piece.tid, piece.time_ns)
        others = overlaps & _MANY
        if others == 1:
            other = other or self._asleep  # awake for a moment: each reading of the peer's wakes it
        self.unsettled.append(Write(piece, call_end, others, other if others == 1 else 0))
        self._unsettled_size += piece.size
        if not overlaps:
            return self._settle(piece.offset + piece.size, call_end)
        return self._give_unsettled() if self._unsettled_size > MOST_HELD_SIZE else []

    def answer(self, tid: int, time_ns: int) -> list[Piece]:
        """The other side has spoken: what was written before it is all that was."""
        self._see(tid, time_ns)
        if self._is_contested or not self.unsettled or self.unsettled[-1].piece.time_ns > time_ns:
            return []
        return self._give_unsettled()

    def give_up(self) -> list[Piece]:
        return self._give_unsettled() + super().give_up()

    def close(self, end: int, time_ns: int) -> list[Piece]:
        return self._give_unsettled() + super().close(end, time_ns)

    def _see(self, tid: int, time_ns: int) -> None:
        if tid == self._asleep:
            self._asleep = 0
        if len(self._seen_ns) == _MOST_SEEN:
            self._seen_ns.clear()
        self._seen_ns[tid] = time_ns

    def _note_sleeper(self, tid: int, time_ns: int) -> None:
        if self._seen_ns.get(tid, -_MARGIN_NS) + _MARGIN_NS < time_ns:
            self._asleep = tid

    def _settle(self, piece_end: int, call_end: int) -> list[Piece]:
        """No call was under way when the one that ends there did.

        What began later lies behind it, though its record may have come before.
        """
        before = [one for one in self.unsettled if one.piece.offset < call_end]
        if piece_end < call_end and not _are_in_order(before):
            return []  # the rest of the call is to come
        self.unsettled = [one for one in self.unsettled if one.piece.offset >= call_end]
        return self._give(before, call_end)

    def _give_unsettled(self) -> list[Piece]:
        """As if what is unsettled were all."""
        if not self.unsettled:
            return []
        writes, self.unsettled = self.unsettled, []
        begin = min(one.piece.offset for one in writes)
        calls = {
            (one.piece.tid, one.call_end): one.call_end - one.piece.offset
            for one in reversed(writes)  # the first piece of each that is there
        }
        end = max(begin + sum(calls.values()), *(one.call_end for one in writes))
        return self._give(writes, end)

    def _give(self, writes: list[Write], end: int) -> list[Piece]:
        self._unsettled_size -= sum(one.piece.size for one in writes)
        if _are_in_order(writes):
            return [given for one in writes for given in self.add(one.piece)]
        self._is_contested, self._spent = True, end
        first, begin = writes[0].piece, min(one.piece.offset for one in writes)
        declared_size = sum(one.piece.size for one in writes if one.piece.data is None)
        self.contested_size += end - begin - declared_size
        return self.add(Piece(begin, end - begin, first.time_ns, first.tid, None))


def _are_in_order(writes: list[Write]) -> bool:
    """Whether each began after those before it were over."""
    others: set[int] = set()
    alone = 0  # the only thread that may have been writing, once one was with nobody knows whom
    for one in writes:
        tid = one.piece.tid
        if tid in others or alone not in (0, tid):
            return False
        if one.overlaps and one.other:
            others.add(one.other)
        elif one.overlaps:
            alone = tid
    return True
