"""The kernel's part in a test: what a cgroup sends is redirected, where it listens is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.members import Network
from kebpf.kernel.redirect import Redirect, RedirectPorts
from kebpf.replay.processes import Group
from kebpf.replay.stages import Listening, Refusal, ResponderPorts

_PROTOCOLS = {
    socket.IPPROTO_ICMP: "icmp",
    socket.IPPROTO_ICMPV6: "icmpv6",
    socket.IPPROTO_TCP: "tcp",
    socket.IPPROTO_UDP: "udp",
    socket.IPPROTO_SCTP: "sctp",
}


def name_protocol(number: int) -> str:
    """What `kebpf.replay.stages.Refusal` calls an IP protocol."""
    return _PROTOCOLS.get(number, f"ip-{number}")


class KernelSteering:
    """`kebpf.replay.stages.Steering` by cgroup programs."""

    def __init__(self) -> None:
        self._redirect: Redirect | None = None

    def attach(self, group: Group, ports: ResponderPorts) -> None:
        """Starts redirecting.  Raises `kebpf.kernel.errors.KernelError`."""
        assert not isinstance(group, Network)  # it is the other steering that takes one
        wanted = RedirectPorts(ports.tcp4, ports.udp4, ports.tcp6 or 0, ports.udp6 or 0)
        self._redirect = Redirect(group.path, wanted, ProgramCache())

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        """The numeric host and port meant by the socket whose own end is ``host``, ``port``."""
        if self._redirect is None:
            return None
        return self._redirect.original_destination(transport, host, port)

    def is_foreign(self, own: tuple[str, int], other: tuple[str, int]) -> bool:
        """Whether a TCP socket with these ends is surely of no process of the group."""
        return self._redirect is not None and self._redirect.is_foreign(own, other)

    async def watch_listening(self) -> AsyncGenerator[Listening, None]:
        """Each socket of the cgroup that begins to listen, from `attach` on."""
        redirect = self._redirect
        if redirect is None:
            return
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(redirect.fileno(), readable.set)
        try:
            while True:
                readable.clear()
                for found in redirect.take_listening():
                    yield Listening(found.pid, found.host, found.port)
                await readable.wait()
        finally:
            loop.remove_reader(redirect.fileno())

    def take_refusals(self) -> list[Refusal]:
        """The packets that could not be answered and were not let out, since the last call."""
        found = [] if self._redirect is None else self._redirect.take_refusals()
        return [Refusal(name_protocol(one.protocol), one.host, one.packets) for one in found]

    def close(self) -> None:
        """Undoes all of it."""
        if self._redirect is not None:
            self._redirect.close()
            self._redirect = None
