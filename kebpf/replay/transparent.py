"""The kernel's part in a test without root: a network in which every address leads to us."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from kebpf.kernel.interception import MULTICAST_LOG, OWN_MARK, REFUSED_LOG
from kebpf.kernel.listening import ListeningSockets
from kebpf.kernel.members import Network
from kebpf.kernel.packetlog import PacketLog
from kebpf.kernel.processes import socket_inodes
from kebpf.kernel.unanswered import UnansweredCalls
from kebpf.recording.model import Endpoint
from kebpf.replay.doors import (
    DoorDatagrams,
    Host,
    open_datagram_door,
    open_stream_door,
)
from kebpf.replay.processes import Group
from kebpf.replay.routing import DNS_PORT
from kebpf.replay.stages import Listening, Refusal, ResponderPorts
from kebpf.replay.steering import name_protocol

POLL_S = 0.003  # nothing tells when a socket begins to listen
_IPV6_LOOPBACK = Path("/proc/net/if_inet6")


class TransparentSteering:
    """`kebpf.replay.stages.Steering` in the network that `kebpf.kernel.rootless` made.

    All is intercepted there before anything is started, so to attach is only to know the members.
    Without interception each recorded destination has sockets of its own, which works as every
    address is local, and attempts to reach others are seen by the kernel's refusals.
    """

    def __init__(self, is_intercepted: bool = True) -> None:
        self._is_intercepted = is_intercepted
        self._network: Network | None = None
        self._datagrams: list[DoorDatagrams] = []
        self._refused: PacketLog | None = None
        self._multicast: PacketLog | None = None
        self._unanswered: UnansweredCalls | None = None
        self._families = [socket.AF_INET]
        if _IPV6_LOOPBACK.exists() and _IPV6_LOOPBACK.read_text():
            self._families.append(socket.AF_INET6)

    def listen(self, destinations: Sequence[Endpoint]) -> list[socket.socket]:
        """The sockets at which every TCP connection ends.  Raises ``OSError``."""
        if self._is_intercepted:
            return [open_stream_door(family) for family in self._families]
        places = _list_places("tcp", destinations, self._families)
        return [open_stream_door(_family_of(place), place) for place in places]

    def open_datagrams(
        self,
        make_protocol: Callable[[], asyncio.DatagramProtocol],
        destinations: Sequence[Endpoint],
    ) -> list[asyncio.DatagramTransport]:
        """The transports at which every datagram ends.  Raises ``OSError``."""
        if self._is_intercepted:
            doors = [open_datagram_door(family) for family in self._families]
        else:
            places = _list_places("udp", destinations, self._families)
            doors = [open_datagram_door(_family_of(place), place) for place in places]
        self._datagrams = [DoorDatagrams(door, make_protocol()) for door in doors]
        self._multicast = _open_log(MULTICAST_LOG) if self._is_intercepted else None
        if self._multicast is not None:
            asyncio.get_running_loop().add_reader(self._multicast.fileno(), self._take_multicast)
        return list(self._datagrams)

    def _take_multicast(self) -> None:
        """No socket of ours can receive these; they are delivered as if one had."""
        for packet in self._multicast.take() if self._multicast is not None else ():
            port, to_port, data = packet.as_datagram()
            for door in self._datagrams:
                if (door.family == socket.AF_INET6) == (":" in packet.source):
                    door.deliver(data, (packet.source, port), (packet.destination, to_port))

    def attach(self, group: Group, ports: ResponderPorts) -> None:
        """Learns whose sockets `watch_listening` is to tell of."""
        assert isinstance(group, Network)  # it is the other steering that takes a cgroup
        self._network = group
        if self._is_intercepted:
            self._refused = _open_log(REFUSED_LOG)
        else:
            self._unanswered = UnansweredCalls()

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
        """The packets that could not be answered, since the last call."""
        if self._unanswered is not None:
            counts = Counter(self._unanswered.take())
        elif self._refused is not None:
            packets = self._refused.take()
            counts = Counter((packet.protocol, packet.destination) for packet in packets)
        else:
            return ()
        return [Refusal(name_protocol(kind), host, n) for (kind, host), n in counts.items()]

    def close(self) -> None:
        """The responder closes the sockets it was given."""
        self._network = None
        if self._multicast is not None:
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                asyncio.get_running_loop().remove_reader(self._multicast.fileno())
        for log in (self._multicast, self._refused, self._unanswered):
            if log is not None:
                log.close()
        self._multicast = self._refused = self._unanswered = None


def _list_places(
    transport: str, destinations: Sequence[Endpoint], families: Sequence[int]
) -> list[Host]:
    """Where the recorded destinations are: both loopback addresses are one, so are name servers."""
    places: dict[Host, None] = {}
    for one in destinations:
        if one.transport != transport:
            continue
        if transport == "udp" and one.port == DNS_PORT:
            hosts = ["0.0.0.0", "::"]
        elif ipaddress.ip_address(one.host).is_loopback:
            hosts = list(dict.fromkeys([one.host, "127.0.0.1", "::1"]))
        else:
            hosts = [one.host]
        places |= {(host, one.port): None for host in hosts}
    return [place for place in places if _family_of(place) in families]


def _family_of(place: Host) -> int:
    return socket.AF_INET6 if ":" in place[0] else socket.AF_INET


def _open_log(group: int) -> PacketLog | None:
    try:
        return PacketLog(group)
    except OSError:  # a kernel without it: then nobody is told
        return None


def _find_holder(inode: int, network: Network) -> int | None:
    """The application's process that has a socket; ``None`` while it goes from one to another."""
    return next((pid for pid in network.find_members() if inode in socket_inodes(pid)), None)
