"""Finds the ends of Unix and UDP sockets, which the kernel tells nobody: no target holds them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from kebpf.capture.probes import UntoldLife
from kebpf.kernel.processes import HiddenSocketsError, list_held_sockets

_INTERVAL = 1.0  # seconds
_REST = 50  # a look is followed by so many times what it took
_SHORT_REST = 4  # the same while there is no room for new connections


class Lives(Protocol):
    """What is looked at: `kebpf.capture.probes.Probes`."""

    def counts(self) -> Mapping[str, int]: ...

    def watched(self) -> list[int]: ...

    def untold_lives(self) -> list[UntoldLife]: ...

    def end_life(self, life: UntoldLife) -> None: ...


class EndWatch:
    """Has lives ended whose socket was in no target's hands at two looks, one after the other.

    At one look alone it may be on its way from one process to another, in a message.  What comes
    back later, from a process that is no target, is another life.
    """

    def __init__(
        self,
        lives: Lives,
        list_sockets: Callable[[int], set[int]] = list_held_sockets,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lives = lives
        self._list_sockets = list_sockets
        self._clock = clock
        self._next = self._next_if_full = 0.0
        self._begun = 0  # lives, at the last look
        self._unfollowed_size = 0
        self._left = 0  # lives that went on at the last look
        self._suspects: set[UntoldLife] = set()
        self._is_able = True

    def look(self) -> None:
        """To be called often: it looks when it is time and there is something to look at."""
        now = self._clock()
        if not self._is_able or now < self._next_if_full:
            return
        counts = self._lives.counts()
        is_full = counts["unfollowed_bytes"] > self._unfollowed_size
        begun = counts["untold_lives"]
        if (now < self._next and not is_full) or not (self._left or begun > self._begun):
            return
        self._begun, self._unfollowed_size = begun, counts["unfollowed_bytes"]
        self._find_ends()
        then = self._clock()
        self._next_if_full = then + _SHORT_REST * (then - now)
        self._next = then + max(_INTERVAL, _REST * (then - now))

    def _find_ends(self) -> None:
        lives = self._lives.untold_lives()  # first: what is held later was there all the while
        self._left = len(lives)
        try:
            held = self._list_held()
        except HiddenSocketsError:
            return
        absent = {life for life in lives if life.inode not in held}
        ended = absent & self._suspects
        self._suspects = absent - ended
        try:
            for life in ended:
                self._lives.end_life(life)
                self._left -= 1
        except OSError:
            self._is_able = False  # nor will it be later: they end with the recording

    def _list_held(self) -> set[int]:
        held: set[int] = set()
        for pid in self._lives.watched():
            with contextlib.suppress(ProcessLookupError):
                held |= self._list_sockets(pid)
        return held
