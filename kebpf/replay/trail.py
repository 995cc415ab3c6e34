"""Follows the transactions that an application makes on one connection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from kebpf.protocols.base import Document
from kebpf.replay.transactions import AGAIN, CHAIN, MOST_SERVED, is_opening, read_ending, read_step


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that was ended: the mocks ``served`` in it, and how.

    ``has_strays``: calls were made in it that were not recorded; ``is_opened``: it was begun;
    ``is_again``: it was ended once more, with nothing in between.
    """

    verb: str
    served: list[int]
    steps: list[str]
    has_strays: bool
    is_opened: bool
    is_again: bool = False


class Trail:
    """What was called on a connection since its transaction began."""

    def __init__(self) -> None:
        self._served: deque[int] = deque(maxlen=MOST_SERVED)
        self._steps: deque[str] = deque(maxlen=MOST_SERVED)
        self._has_strays = False
        self._is_opened = False
        self._was_begun = False  # by the statement before
        self._ended: Ended | None = None  # by the statement before

    def note_served(self, ordinal: int) -> None:
        """A mock answered a call."""
        self._served.append(ordinal)
        self._was_begun, self._ended = False, None

    def note_stray(self) -> None:
        """A call was made that was not recorded."""
        self._has_strays = True
        self._was_begun, self._ended = False, None

    def follow(self, request: Document) -> Ended | None:
        """Takes a session statement: a transaction begins, is undone in part, ends, or nothing."""
        verb, step, is_begun = read_ending(request), read_step(request), is_opening(request)
        was_begun, ended = self._was_begun, self._ended
        self._was_begun, self._ended = is_begun, None
        if verb is not None:
            return self._end(verb, ended)
        if is_begun and was_begun:
            self._steps.append(AGAIN)
        elif is_begun:
            self._clear(is_opened=True)
        if step is not None:
            self._steps.append(step)
        return None

    def _end(self, verb: str, before: Ended | None) -> Ended:
        is_again = before is not None and before.verb == verb and not self._is_opened
        if is_again and before is not None:
            found = Ended(verb, before.served, [], before.has_strays, True, is_again=True)
        else:
            served, steps = list(self._served), list(self._steps)
            found = Ended(verb, served, steps, self._has_strays, self._is_opened)
        self._clear(is_opened=verb.endswith(CHAIN))
        self._ended = found
        return found

    def _clear(self, is_opened: bool) -> None:
        self._served.clear()
        self._steps.clear()
        self._has_strays = False
        self._is_opened = is_opened
