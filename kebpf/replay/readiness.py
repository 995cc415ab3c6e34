"""Decides when the application is ready: when it listens where the recorded one did."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from kebpf.replay.launch import Application, LaunchError
from kebpf.replay.replayer import Address
from kebpf.replay.stages import Listening

DEFAULT_TIMEOUT_S = 60.0
SETTLE_S = 2.0  # how long after it listens elsewhere the recorded port may still come


@dataclass(frozen=True, slots=True)
class Readiness:
    """For each recorded port, where to send its requests; ``note`` says if it is not that port."""

    addresses: dict[int, Address]
    note: str | None = None


async def wait_ready(
    application: Application,
    listening: AsyncIterator[Listening],
    recorded: Collection[int],
    timeout_s: float = DEFAULT_TIMEOUT_S,
    settle_s: float = SETTLE_S,
) -> Readiness:
    """Waits until the application listens on all ``recorded`` ports.

    If it listens on one other port only, and ``settle_s`` seconds bring no other, that one is
    taken and said.  Raises `LaunchError` if it exits, or does not listen in time.
    """
    watch = asyncio.ensure_future(_watch(listening, recorded, settle_s))
    exit_ = asyncio.ensure_future(application.wait())
    try:
        await asyncio.wait({watch, exit_}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if exit_.done():
            raise await _early_exit(application)
        if not watch.done():
            raise LaunchError(
                f"the application did not listen on {_name_ports(recorded)} within {timeout_s:g} s",
                application.last_lines,
            )
        return _choose(watch.result(), recorded, application.last_lines)
    finally:
        watch.cancel()
        exit_.cancel()
        await asyncio.gather(watch, exit_, return_exceptions=True)


async def _early_exit(application: Application) -> LaunchError:
    await application.wait_last_output()
    hint = ""
    if application.status == 0:
        hint = " (it must stay in the foreground)"
    return LaunchError(
        f"the application {application.describe_exit()} before it listened{hint}",
        application.last_lines,
    )


async def _watch(
    listening: AsyncIterator[Listening], recorded: Collection[int], settle_s: float
) -> list[Listening]:
    """Everything that listens, once the recorded ports all do or nothing more comes."""
    seen: list[Listening] = []
    coming = asyncio.ensure_future(_next(listening))
    try:
        while True:
            wait_s = settle_s if seen and recorded else None
            done, _ = await asyncio.wait({coming}, timeout=wait_s)
            found = coming.result() if done else None
            if found is None:
                return await _enough(seen)
            seen.append(found)
            if set(recorded) <= {one.port for one in seen}:
                return seen
            coming = asyncio.ensure_future(_next(listening))
    finally:
        coming.cancel()


async def _next(listening: AsyncIterator[Listening]) -> Listening | None:
    return await anext(listening, None)


async def _enough(seen: list[Listening]) -> list[Listening]:
    """What is seen is all there is; if that is nothing, the time-out is waited for."""
    if not seen:
        await asyncio.Event().wait()
    return seen


def _choose(
    seen: Sequence[Listening], recorded: Collection[int], output: Sequence[str]
) -> Readiness:
    by_port = {one.port: one for one in reversed(seen)}
    if recorded and set(recorded) <= set(by_port):
        return Readiness({port: _address(by_port[port]) for port in recorded})
    if len(by_port) > 1:
        raise LaunchError(
            f"the application listens on {_name_ports(by_port)}, but the recorded one was asked "
            f"on {_name_ports(recorded)}: which is meant cannot be told",
            output,
        )
    port, one = next(iter(by_port.items()))
    addresses = {asked: _address(one) for asked in recorded or [port]}
    note = f"the application listens on port {port}; the recorded one did on " + _name_ports(
        recorded
    )
    return Readiness(addresses, note if recorded else None)


def _address(one: Listening) -> Address:
    """Where to connect to reach a listening socket from this host."""
    if not ipaddress.ip_address(one.host).is_unspecified:
        return Address(one.host, one.port)
    return Address("::1" if ":" in one.host else "127.0.0.1", one.port)


def _name_ports(ports: Collection[int]) -> str:
    names = [str(port) for port in sorted(ports)]
    head = "port " if len(names) == 1 else "ports "
    return (
        head + " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        if names
        else ("any port")
    )
