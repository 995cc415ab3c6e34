"""Follows the Java programs among the targets: has the agent put into them, or says that none is.

A JVM that was started with the agent reports by itself.  Into others it is put by threads of their
own, for a busy JVM may take its time to answer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from kebpf.capture.javaattach import attach_agent
from kebpf.capture.jvm import AttachError, Jvm, has_agent, read_jvm
from kebpf.capture.tlsevents import Library
from kebpf.capture.tlswatch import make_note

MOST_AT_ONCE = 4
_STARTING = 5.0  # seconds in which a process may yet become a JVM, and is looked at often
_STARTING_PAUSE, _PAUSE = 0.25, 5.0


class Watched(Protocol):
    """What is asked: `kebpf.capture.probes.Probes`."""

    def watched(self) -> list[int]: ...


@dataclass(slots=True)
class _Followed:
    """What is known of one process; ``owner`` is open as long as its agent is to report."""

    since: float
    next_look: float = 0.0
    is_settled: bool = False
    attaching: Future[int] | None = None
    owner: int = -1


class JavaWatch:
    """``note`` is given the records that say whose encrypted connections are read, and whose not.

    Without ``is_wanted`` no agent is put anywhere.  ``refusals`` say why one could not be.
    """

    def __init__(
        self,
        probes: Watched,
        note: Callable[[bytes], None],
        is_wanted: bool,
        attach: Callable[[Jvm], int] = attach_agent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = probes
        self._note = note
        self._is_wanted = is_wanted
        self._attach = attach
        self._clock = clock
        self._followed: dict[int, _Followed] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.refusals: list[str] = []

    def prepare(self, pids: Iterable[int]) -> None:
        """Before they are watched: their agents report when it returns, or say why not."""
        for pid in pids:
            one = self._followed.setdefault(pid, _Followed(self._clock()))
            with contextlib.suppress(OSError):  # it ends, or may not be looked into
                self._look_at(pid, one)
        waiting = {pid: one for pid, one in self._followed.items() if one.attaching is not None}
        wait([one.attaching for one in waiting.values() if one.attaching is not None])
        for pid, one in waiting.items():
            self._take_answer(pid, one)

    def look(self) -> None:
        """To be called often: it looks at those processes whose time has come."""
        now, watched = self._clock(), self._probes.watched()
        for pid in self._followed.keys() - set(watched):
            _release(self._followed.pop(pid))
        for pid in watched:
            one = self._followed.setdefault(pid, _Followed(now))
            if one.attaching is not None:
                self._take_answer(pid, one)
            elif not one.is_settled and now >= one.next_look:
                is_starting = now < one.since + _STARTING
                one.next_look = now + (_STARTING_PAUSE if is_starting else _PAUSE)
                with contextlib.suppress(OSError):  # it ends, or may not be looked into
                    self._look_at(pid, one)

    def close(self) -> None:
        """The agents fall silent, within a second or so."""
        if self._pool is not None:
            self._pool.shutdown()
        for one in self._followed.values():
            _release(one)
        self._followed.clear()

    def _look_at(self, pid: int, one: _Followed) -> None:
        jvm = read_jvm(pid)
        if jvm is None:
            return
        one.is_settled = True
        if has_agent(pid):
            return
        if not self._is_wanted:
            self._note_unread(pid)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MOST_AT_ONCE, "attach")
        one.attaching = self._pool.submit(self._attach, jvm)

    def _take_answer(self, pid: int, one: _Followed) -> None:
        if one.attaching is None or not one.attaching.done():
            return
        attaching, one.attaching = one.attaching, None
        try:
            one.owner = attaching.result()
            self._note(make_note(pid, Library.JAVA, True, "Java"))
        except AttachError as error:
            self.refusals.append(str(error))
            self._note_unread(pid)
        except OSError as error:
            self.refusals.append(f"no agent could be put into process {pid}: {error.strerror}")
            self._note_unread(pid)

    def _note_unread(self, pid: int) -> None:
        self._note(make_note(pid, Library.JAVA, False, "Java"))


def _release(one: _Followed) -> None:
    if one.attaching is not None and one.attaching.exception() is None:
        one.owner = one.attaching.result()
    if one.owner >= 0:
        os.close(one.owner)
        one.owner = -1
