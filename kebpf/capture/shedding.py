"""Gives up whole connections when more comes than can be parsed, rather than bytes of all.

Below `WATCH_SHARE` of the backlog's quota it looks at nothing.  Above, it sums up what each
connection moves; at the mark, the connections that moved most are given up, so many that what
comes halves, and the mark is set half-way to the quota.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from kebpf.capture.events import (
    GIVEN_UP_TAIL,
    MOST_RECORD_SIZE,
    Kind,
    make_record,
    measure_record,
)
from kebpf.capture.head import HEAD

WATCH_SHARE = 1 / 2  # of the quota
FIRST_SHARE = 3 / 4
LAST_SHARE = 15 / 16  # beyond it, all that move anything are given up
MOST_AT_ONCE = 1000  # connections given up at a mark

KEY = struct.Struct("=QQ")  # socket and generation, behind the head's time
KEY_AT = 8
KIND_AT, DIRECTION_AT = 32, 33  # in a record's head
PIECE_SIZE = struct.Struct("=I")
PIECE_SIZE_AT = HEAD.size + 8
RECORD_HEAD_SIZE = 8
PIECES = (Kind.DATA, Kind.GAP)
_START = struct.Struct("=I12x16s8xBB")  # of a record: its length, and of its head what is needed
_LAST_PIECE, _CLOSE = Kind.GAP.value, Kind.CLOSE.value
_OTHER = 1 << 31  # in the place of a length: there is not even a head


@dataclass(slots=True)
class Share:
    """What one connection moved for some time; ``head`` is that of its last record."""

    size: int = 0
    count: int = 0
    head: bytes = b""


@dataclass(slots=True)
class Dropped:
    """Bytes of a connection that were thrown away, by direction."""

    head: bytes
    sizes: list[int] = field(default_factory=lambda: [0, 0])

    def make_record(self) -> bytes:
        """A KEBPF_GIVEN_UP record."""
        head = self.head[:KIND_AT] + bytes([Kind.GIVEN_UP]) + self.head[KIND_AT + 1 :]
        return make_record(head + GIVEN_UP_TAIL.pack(*self.sizes))


class Shedder:
    """``quota`` is the spool's, in bytes; runs are whole ring records."""

    def __init__(self, quota: int) -> None:
        self._quota = quota
        self._mark = int(quota * FIRST_SHARE)
        self._shares: dict[bytes, Share] = {}
        self._given_up: dict[bytes, Dropped] = {}

    def sift(self, run: bytes, backlog_size: int) -> bytes:
        """What is to be kept of a run, with what was decided about connections in its place.

        Raises `kebpf.capture.events.EventError`.
        """
        is_filling = backlog_size > self._quota * WATCH_SHARE
        if not is_filling:
            self._calm_down()
            if not self._given_up:
                return run
        kept = b"".join(self._keep(run, is_filling))
        if backlog_size + len(kept) > self._mark:
            kept += self._give_up(backlog_size)
        return kept

    def finish(self) -> list[bytes]:
        """The sums of the connections that are still open, as records."""
        return [one.make_record() for one in self._given_up.values()]

    def _calm_down(self) -> None:
        self._mark = int(self._quota * FIRST_SHARE)
        if self._shares:
            self._shares.clear()

    def _keep(self, run: bytes, is_filling: bool) -> Iterator[bytes]:
        """The run without the pieces of connections that were given up.

        It is gone through record by record for as long as too much comes: what it does for each
        is all that the reader does for each.
        """
        given_up, begin, at, end = self._given_up, 0, 0, len(run)
        sizes: dict[bytes, int] = {}
        places: dict[bytes, int] = {}
        while at < end:
            try:
                size, key, kind, direction = _START.unpack_from(run, at)
            except struct.error:
                size = _OTHER
            following = at + ((size + 15) & ~7)
            if size > MOST_RECORD_SIZE or following > end:  # discarded, or damaged
                following = at + ((measure_record(run, at)[0] + 15) & ~7)
            elif kind <= _LAST_PIECE:
                if key in given_up:
                    yield run[begin:at]
                    begin = following
                    piece_at = at + RECORD_HEAD_SIZE + PIECE_SIZE_AT
                    given_up[key].sizes[direction] += PIECE_SIZE.unpack_from(run, piece_at)[0]
                elif is_filling:
                    sizes[key] = sizes.get(key, 0) + size
                    places[key] = at
            elif kind == _CLOSE and key in given_up:
                yield run[begin:at]
                begin = at
                yield given_up.pop(key).make_record()
            at = following
        yield run[begin:]
        for key, size in sizes.items():
            self._count(key, size, run, places[key] + RECORD_HEAD_SIZE)

    def _count(self, key: bytes, size: int, run: bytes, at: int) -> None:
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share()
        share.size += size
        share.head = run[at : at + HEAD.size]

    def _give_up(self, backlog_size: int) -> bytes:
        """The largest of those seen since the last time, as records that say so."""
        is_last = backlog_size > self._quota * LAST_SHARE
        wanted = sum(share.size for share in self._shares.values()) / (1 if is_last else 2)
        records: list[bytes] = []
        for key, share in sorted(self._shares.items(), key=lambda item: -item[1].size):
            if wanted <= 0 or len(records) == MOST_AT_ONCE:
                break
            wanted -= share.size
            dropped = self._given_up[key] = Dropped(share.head)
            records.append(dropped.make_record())
        self._shares.clear()
        mark = max(self._mark, backlog_size)
        self._mark = mark + (self._quota - mark) // 2
        return b"".join(records)
