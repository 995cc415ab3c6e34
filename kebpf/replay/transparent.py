"""The kernel's part in a test without root: a network in which every address leads to us."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from kebpf.kernel.interception import OWN_MARK
from kebpf.kernel.listening import ListeningSockets
from kebpf.kernel.members import Network
from kebpf.kernel.processes import socket_inodes
from kebpf.replay.doors import (
    DoorDatagrams,
    open_datagram_door,
    open_stream_door,
)
from kebpf.replay.processes import Group
from kebpf.replay.stages import Listening, Refusal, ResponderPorts

POLL_S = 0.003  # nothing tells when a socket begins to listen
_IPV6_LOOPBACK = Path("/proc/net/if_inet6")


class TransparentSteering:
    """`kebpf.replay.stages.Steering` in the network that `kebpf.kernel.rootless` made.

    All is intercepted there before anything is started, so to attach is only to know the members.
    """

    def __init__(self) -> None:
        self._network: Network | None = None
        self._datagrams: list[DoorDatagrams] = []
        self._families = [socket.AF_INET]
        if _IPV6_LOOPBACK.exists() and _IPV6_LOOPBACK.read_text():
            self._families.append(socket.AF_INET6)

    def listen(self) -> list[socket.socket]:
        """The sockets at which every TCP connection ends.  Raises ``OSError``."""
        return [open_stream_door(family) for family in self._families]

    def open_datagrams(
        self, make_protocol: Callable[[], asyncio.DatagramProtocol]
    ) -> list[asyncio.DatagramTransport]:
        """The transports at which every datagram ends.  Raises ``OSError``."""
        doors = [open_datagram_door(family) for family in self._families]
        self._datagrams = [DoorDatagrams(door, make_protocol()) for door in doors]
        return list(self._datagrams)

    def attach(self, group: Group, ports: ResponderPorts) -> None:
        """Learns whose sockets `watch_listening` is to tell of."""
        assert isinstance(group, Network)  # it is the other steering that takes a cgroup
        self._network = group

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        """Where a datagram from there was meant to go; of a connection its own address tells."""
        if transport != "udp":
            return None
        found = (one.original_destination(host, port) for one in self._datagrams)
        return next((destination for destination in found if destination is not None), None)

    async def watch_listening(self) -> AsyncGenerator[Listening, None]:
        """Each socket of the application that listens, as soon as it is seen to."""
        network = self._network
        if network is None:
            return
        sockets, seen = ListeningSockets(), socket_inodes(os.getpid())
        try:
            while True:
                for found in sockets.list():
                    if found.inode in seen:
                        continue
                    pid = _find_holder(found.inode, network)
                    if pid is not None:
                        seen.add(found.inode)
                        yield Listening(pid, found.host, found.port, OWN_MARK)
                await asyncio.sleep(POLL_S)
        finally:
            sockets.close()

    def take_refusals(self) -> Sequence[Refusal]:
        """None: there is no way out that a packet could be kept from."""
        return ()

    def close(self) -> None:
        """The responder closes the sockets it was given; nothing else is held."""
        self._network = None


def _find_holder(inode: int, network: Network) -> int | None:
    """The application's process that has a socket; ``None`` while it goes from one to another."""
    return next((pid for pid in network.find_members() if inode in socket_inodes(pid)), None)
