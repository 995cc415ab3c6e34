"""Decides when the application is ready: when it listens where the recorded one did."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass

from kebpf.replay.connection import Address
from kebpf.replay.launch import Application, LaunchError
from kebpf.replay.ports import find_held_port
from kebpf.replay.stages import Listening

DEFAULT_TIMEOUT_S = 60.0
SETTLE_S = 2.0  # how long after it listens elsewhere the recorded port may still come


@dataclass(frozen=True, slots=True)
class Readiness:
    """For each recorded port, where to send its requests; ``note`` says if it is not that port.

    ``pids`` are the processes that made these sockets listen.
    """

    addresses: dict[int, Address]
    note: str | None = None
    pids: tuple[int, ...] = ()


class _Board:
    """Where the application listens, beside where it is ``needed`` and was ``known`` to."""

    def __init__(self, needed: Collection[int], known: Collection[int]) -> None:
        self._needed = dict.fromkeys(needed)
        self._known = {*needed, *known}
        self._seen: dict[int, Listening] = {}

    def add(self, found: Listening) -> None:
        self._seen.setdefault(found.port, found)

    @property
    def missing(self) -> list[int]:
        return [port for port in self._needed if port not in self._seen]

    @property
    def substitute(self) -> Listening | None:
        """The one new port that can only stand for the one recorded port that is missing."""
        others = [one for port, one in self._seen.items() if port not in self._known]
        return others[0] if len(others) == 1 and len(self.missing) == 1 else None

    def settle(self) -> Readiness:
        """The readiness that there is now."""
        seen = {port: self._seen[port] for port in self._needed if port in self._seen}
        note = None
        substitute = self.substitute
        if substitute is not None:
            [port] = self.missing
            seen[port] = substitute
            note = f"the application listens on port {substitute.port} instead of {port}"
        pids = dict.fromkeys(one.pid for one in seen.values())
        return Readiness({port: _address(one) for port, one in seen.items()}, note, tuple(pids))

    def describe(self) -> str:
        text = f"the application did not listen on {_name_ports(self.missing)}"
        return f"{text} (it listens on {_name_ports(self._seen)})" if self._seen else text


async def wait_ready(
    application: Application,
    listening: AsyncIterator[Listening],
    needed: Collection[int],
    known: Collection[int] = (),
    timeout_s: float = DEFAULT_TIMEOUT_S,
    settle_s: float = SETTLE_S,
) -> Readiness:
    """Waits until the application listens on the ``needed`` ports.

    ``known`` are all ports the recorded one listened on.  If one needed port is missing, there is
    one port that is not known, and ``settle_s`` seconds bring no other, that one is taken for it
    and said.  Raises `LaunchError` if the application exits, or does not listen in time.
    """
    board = _Board(needed, known)
    watch = asyncio.ensure_future(_watch(listening, board, settle_s))
    exit_ = asyncio.ensure_future(application.wait())
    try:
        await asyncio.wait({watch, exit_}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if exit_.done():
            raise _add_holder(await explain_exit(application, "before it listened"), needed)
        if not watch.done():
            reason = f"{board.describe()} within {timeout_s:g} s"
            raise LaunchError(reason, application.last_lines)
        watch.result()
        return board.settle()
    finally:
        watch.cancel()
        exit_.cancel()
        await asyncio.gather(watch, exit_, return_exceptions=True)
        await _close(listening)


def _add_holder(error: LaunchError, needed: Collection[int]) -> LaunchError:
    """Says that something else has a port the application needs: mostly why it ended."""
    held = find_held_port(needed)
    if held is None:
        return error
    text = f"{error}; something else listens on port {held}: end it, or use --isolated"
    return LaunchError(text, error.output)


async def explain_exit(application: Application, when: str) -> LaunchError:
    """The error for an application that ended by itself, with its last lines."""
    await application.wait_last_output()
    hint = " (it must stay in the foreground)" if application.status == 0 else ""
    reason = f"the application {application.describe_exit()} {when}{hint}"
    return LaunchError(reason, application.last_lines)


async def _watch(listening: AsyncIterator[Listening], board: _Board, settle_s: float) -> None:
    """Returns when the needed ports are there, or a substitute is and nothing more comes."""
    coming = asyncio.ensure_future(_next(listening))
    try:
        while board.missing:
            wait_s = settle_s if board.substitute is not None else None
            done, _ = await asyncio.wait({coming}, timeout=wait_s)
            if not done:
                return
            board.add(coming.result())
            coming = asyncio.ensure_future(_next(listening))
    finally:
        coming.cancel()


async def _close(listening: AsyncIterator[Listening]) -> None:
    """Lets a generator undo what it set up in the event loop, while the loop and its files live."""
    if isinstance(listening, AsyncGenerator):
        await listening.aclose()


async def _next(listening: AsyncIterator[Listening]) -> Listening:
    found = await anext(listening, None)
    if found is None:
        raise LaunchError("the kernel's report of listening sockets ended before one was seen")
    return found


def _address(one: Listening) -> Address:
    """Where to connect to reach a listening socket from this host."""
    if not ipaddress.ip_address(one.host).is_unspecified:
        return Address(one.host, one.port, one.mark)
    return Address("::1" if ":" in one.host else "127.0.0.1", one.port, one.mark)


def _name_ports(ports: Collection[int]) -> str:
    names = [str(port) for port in sorted(ports)]
    if len(names) == 1:
        return f"port {names[0]}"
    return f"ports {', '.join(names[:-1])} and {names[-1]}"
