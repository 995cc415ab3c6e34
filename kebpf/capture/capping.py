"""Keeps what is recorded below a rate, by giving up whole connections rather than bytes of all.

A connection that is given up stays so until it ends.  Inbound ones go first: a request that is not
seen costs one case, a call that is not seen every case that may have made it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from kebpf.capture.events import OPEN_TAIL, Kind, SocketRole, split_records
from kebpf.capture.head import HEAD
from kebpf.capture.shedding import (
    DIRECTION_AT,
    KEY,
    KEY_AT,
    KIND_AT,
    PIECE_SIZE,
    PIECE_SIZE_AT,
    PIECES,
    RECORD_HEAD_SIZE,
    Dropped,
    Share,
)

BURST_SECONDS = 2.0  # of what the rate allows may come at once
WINDOW_SECONDS = 0.5  # between two decisions: what the first one brings is to be seen
_PORT = struct.Struct("=H")
_PORT_AT = HEAD.size + struct.calcsize("=QQIIQ16s16s")
_ROLE_AT = HEAD.size + struct.calcsize("=QQIIQ16s16sHHH")
assert OPEN_TAIL.size > _ROLE_AT - HEAD.size


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so much a second, ``None`` for any: bytes as they crossed, and pieces of them."""

    bytes: int | None = None
    events: int | None = None


class RateCap:
    """Of one recording; ``listening`` are the target's ports, ``clock`` gives seconds.

    ``capped`` counts the connections that were given up.
    """

    def __init__(
        self,
        rate: Rate,
        listening: Collection[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        now = clock()
        limits = enumerate((rate.bytes, rate.events))
        self._buckets = [_Bucket(at, one, now) for at, one in limits if one is not None]
        self._taken = (0, 0)  # bytes and events since the buckets were looked at
        self._window = now  # since when shares are summed up
        self._decided = now - WINDOW_SECONDS
        self._listening = listening
        self._clock = clock
        self._is_over = False
        self._inbound: set[bytes] = set()  # of the connections that are open
        self._shares: dict[bytes, Share] = {}
        self._dropped: dict[bytes, Dropped] = {}
        self.capped = 0

    def sift(self, run: bytes) -> bytes:
        """What is to be kept of a run, with what was decided about connections in its place.

        Raises `kebpf.capture.events.EventError`.
        """
        kept = b"".join(self._keep(run))
        now = self._clock()
        for bucket in self._buckets:
            bucket.take(self._taken, now)
        self._taken = (0, 0)
        self._is_over = any(bucket.level < 0 for bucket in self._buckets)
        if self._is_over and now >= self._decided + WINDOW_SECONDS:
            self._decided = now
            kept += self._decide(now)
        if now >= self._window + WINDOW_SECONDS:
            self._window, self._shares = now, {}
        return kept

    def _decide(self, now: float) -> bytes:
        """Gives up more, if what came of late is too much still."""
        size = sum(share.size for share in self._shares.values())
        count = sum(share.count for share in self._shares.values())
        seconds = now - self._window
        self._window, shares, self._shares = now, self._shares, {}
        if any(bucket.is_beyond((size, count), seconds) for bucket in self._buckets):
            return b"".join(self._give_up(shares, size))
        return b""

    def finish(self) -> list[bytes]:
        """The sums of the connections that are still open, as records."""
        return [one.make_record() for one in self._dropped.values()]

    def _keep(self, run: bytes) -> Iterator[bytes]:
        begin = 0
        for at, end in split_records(run):
            kind, key = run[at + KIND_AT], run[at + KEY_AT : at + KEY_AT + KEY.size]
            dropped = self._dropped.get(key)
            if kind in PIECES:
                size = PIECE_SIZE.unpack_from(run, at + PIECE_SIZE_AT)[0]
                if dropped is not None:
                    yield run[begin : at - RECORD_HEAD_SIZE]
                    begin = (end + 7) & ~7
                    dropped.sizes[run[at + DIRECTION_AT]] += size
                else:
                    self._count(key, size, run[at : at + HEAD.size])
            elif kind == Kind.OPEN and self._note_open(key, run, at):
                yield run[begin : (end + 7) & ~7]
                begin = (end + 7) & ~7
                yield self._drop(key, run[at : at + HEAD.size])
            elif kind == Kind.CLOSE:
                self._inbound.discard(key)
                self._shares.pop(key, None)
                if dropped is not None:
                    yield run[begin : at - RECORD_HEAD_SIZE]
                    begin = at - RECORD_HEAD_SIZE
                    yield self._dropped.pop(key).make_record()
        yield run[begin:]

    def _note_open(self, key: bytes, run: bytes, at: int) -> bool:
        """Whether it is one more request to come while too much does already."""
        role, (port,) = run[at + _ROLE_AT], _PORT.unpack_from(run, at + _PORT_AT)
        is_inbound = role == SocketRole.SERVER or (
            role == SocketRole.UNKNOWN and port in self._listening
        )
        if is_inbound:
            self._inbound.add(key)
        return is_inbound and self._is_over

    def _count(self, key: bytes, size: int, head: bytes) -> None:
        self._taken = self._taken[0] + size, self._taken[1] + 1
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share()
        share.size += size
        share.count += 1
        share.head = head

    def _give_up(self, shares: dict[bytes, Share], size: int) -> Iterator[bytes]:
        """So many of those that moved something of late that half of it would not have come."""
        open_ones = [item for item in shares.items() if item[0] not in self._dropped]
        ranked = sorted(open_ones, key=lambda item: (item[0] not in self._inbound, -item[1].size))
        has_inbound = bool(ranked) and ranked[0][0] in self._inbound
        wanted = size / 2
        for key, share in ranked:
            if wanted <= 0 or (has_inbound and key not in self._inbound):
                return
            wanted -= share.size
            yield self._drop(key, share.head)

    def _drop(self, key: bytes, head: bytes) -> bytes:
        self.capped += 1
        dropped = self._dropped[key] = Dropped(head)
        return dropped.make_record()


class _Bucket:
    """How much may still come, at most a burst; below 0 so much more came than may.

    It counts bytes or events: what is ``at`` its place in both.
    """

    def __init__(self, at: int, limit: int, now: float) -> None:
        self._at, self._limit = at, limit
        self._most = limit * BURST_SECONDS
        self._looked = now
        self.level = self._most

    def take(self, taken: tuple[int, int], now: float) -> None:
        allowed = min(self.level + self._limit * (now - self._looked), self._most)
        self.level = max(allowed - taken[self._at], -self._most)
        self._looked = now

    def is_beyond(self, taken: tuple[int, int], seconds: float) -> bool:
        """Whether so much in so long is more than what may come in the long run."""
        return taken[self._at] > self._limit * seconds
