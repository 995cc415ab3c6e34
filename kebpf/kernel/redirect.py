"""Sends what a cgroup connects to elsewhere, and remembers where it meant to go.

cgroup/connect4|6, sendmsg4|6, recvmsg4|6 and getpeername4|6 programs, linked so that they end
with this process.  Nothing outside the cgroup is touched.  Packets that cannot be sent there (raw
sockets, ICMP) are refused and counted.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from kebpf.kernel.bpf import (
    CGROUP_SKB,
    CGROUP_SOCK_ADDR,
    RAW_TRACEPOINT,
    SOCK_OPS,
    Map,
    attach_raw_tracepoint,
    link_to_cgroup,
)
from kebpf.kernel.btf import Btf
from kebpf.kernel.connected import find_cgroup_of, list_cgroups
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.offsets import offset_flags
from kebpf.kernel.programs import Loaded, Program, load_kept, load_programs, make_key
from kebpf.kernel.ring import RECORD_HEAD_SIZE, RingBuffer, record_span

# enum bpf_attach_type of linux/bpf.h
_ATTACH_TYPES = {
    "on_connect4": 10,
    "on_connect6": 11,
    "on_sendmsg4": 14,
    "on_sendmsg6": 15,
    "on_recvmsg4": 19,
    "on_recvmsg6": 20,
    "on_getpeername4": 29,
    "on_getpeername6": 30,
}
_SOCK_OPS_ATTACH = 3
_EGRESS_ATTACH = 1
_TRACEPOINT = "inet_sock_set_state"
_LISTENS_SIZE = 16 * os.sysconf("SC_PAGESIZE")

_SOURCE_FILE = "redirect.c"
_MAPS = ("settings", "wanted", "streams", "datagrams", "own_ports", "listens", "refused")
_KEY = struct.Struct("=I")
_SETTINGS = struct.Struct("=QIIII")
_SOURCE = struct.Struct("=II")
_DESTINATION = struct.Struct("=16sII")
_LISTENING = struct.Struct("=IIII16s")
_REFUSAL = struct.Struct("=16sII")
_COUNT = struct.Struct("=Q")
_INET, _INET6 = 2, 10


@dataclass(frozen=True, slots=True)
class RedirectPorts:
    """The responder's ports on 127.0.0.1 and ::1 (0: none there)."""

    stream4: int
    datagram4: int
    stream6: int = 0
    datagram6: int = 0


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket of the cgroup that began to listen."""

    pid: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Packets of the cgroup that were not let out; ``protocol`` is a number of IANA's."""

    protocol: int
    host: str
    packets: int


def _make_address(family: int, raw: bytes) -> str:
    if family == _INET:
        return str(ipaddress.IPv4Address(raw[:4]))
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _load(cache: ProgramCache | None) -> Loaded:
    """The programs, kept from another run or compiled now."""
    programs = {name: Program(CGROUP_SOCK_ADDR, kind) for name, kind in _ATTACH_TYPES.items()}
    programs["on_sock_ops"] = Program(SOCK_OPS)
    programs["on_egress"] = Program(CGROUP_SKB)
    programs["on_inet_sock_set_state"] = Program(RAW_TRACEPOINT)
    btf = Btf.load()
    if cache is None:
        return load_programs(_SOURCE_FILE, programs, _MAPS, offset_flags(btf))
    key = make_key(btf.digest(), _SOURCE_FILE, list(programs), _MAPS)
    return load_kept(cache, key, _MAPS, {}) or load_programs(
        _SOURCE_FILE,
        programs,
        _MAPS,
        offset_flags(btf),
        keep=lambda compiled: cache.keep(key, compiled.encode()),
    )


class Redirect:
    """Attached on construction.  Raises `KernelError` when the kernel refuses.

    With ``cache`` the programs are compiled once for all runs on a kernel.
    """

    def __init__(
        self, cgroup: Path, ports: RedirectPorts, cache: ProgramCache | None = None
    ) -> None:
        self._loaded = _load(cache)
        settings = Map(self._loaded.maps["settings"], _KEY.size, _SETTINGS.size)
        settings[_KEY.pack(0)] = _SETTINGS.pack(
            cgroup.stat().st_ino, ports.stream4, ports.datagram4, ports.stream6, ports.datagram6
        )
        self._cgroup = cgroup
        self._links: list[int] = []
        self._streams = Map(self._loaded.maps["streams"], _SOURCE.size, _DESTINATION.size)
        self._datagrams = Map(self._loaded.maps["datagrams"], _SOURCE.size, _DESTINATION.size)
        self._refused = Map(self._loaded.maps["refused"], _REFUSAL.size, _COUNT.size)
        self._listens = RingBuffer(self._loaded.maps["listens"], _LISTENS_SIZE)
        self._attach(cgroup)
        self._loaded.close_programs()

    def _attach(self, cgroup: Path) -> None:
        folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        attach_types = {
            **_ATTACH_TYPES,
            "on_sock_ops": _SOCK_OPS_ATTACH,
            "on_egress": _EGRESS_ATTACH,
        }
        programs = self._loaded.programs
        try:
            for name, attach_type in attach_types.items():
                self._links.append(link_to_cgroup(programs[name], folder, attach_type))
            tracepoint = programs["on_inet_sock_set_state"]
            self._links.append(attach_raw_tracepoint(tracepoint, _TRACEPOINT))
        except OSError as error:
            self.close()
            raise KernelError(
                f"the kernel refuses to redirect a cgroup: {error.strerror}", "see `kebpf doctor`"
            ) from None
        finally:
            os.close(folder)

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        """Where the socket whose own end is ``host`` and ``port`` meant to go.

        ``transport`` is ``tcp`` or ``udp``; ``None`` for a socket that was not redirected.
        """
        family = _INET6 if ":" in host else _INET
        table = self._streams if transport == "tcp" else self._datagrams
        try:
            raw, wanted_port, wanted_family = _DESTINATION.unpack(table[_SOURCE.pack(family, port)])
        except KeyError:
            return None
        # the port is in network order, in the low half of a host-order word
        return _make_address(wanted_family, raw), int.from_bytes(
            wanted_port.to_bytes(2, "little"), "big"
        )

    def is_foreign(self, own: tuple[str, int], other: tuple[str, int]) -> bool:
        """Whether the kernel says that a TCP socket is of no process of the cgroup.

        ``own`` is its own end, ``other`` what it is connected to.
        """
        number = find_cgroup_of(own, other)
        return number is not None and number not in list_cgroups(self._cgroup)

    def fileno(self) -> int:
        """Readable when `take_listening` has something to give."""
        return self._listens.fileno()

    def take_listening(self) -> list[ListeningSocket]:
        """The sockets that began to listen since the last call."""
        run = self._listens.drain()
        found, at = [], 0
        while at < len(run):
            pid, family, port, _, raw = _LISTENING.unpack_from(run, at + RECORD_HEAD_SIZE)
            found.append(ListeningSocket(pid, _make_address(family, raw), port))
            at += record_span(int.from_bytes(run[at : at + 4], "little"))
        return found

    def take_refusals(self) -> list[Refusal]:
        """What was not let out since the last call."""
        found = []
        for key, value in list(self._refused.items()):
            raw, family, protocol = _REFUSAL.unpack(key)
            found.append(Refusal(protocol, _make_address(family, raw), *_COUNT.unpack(value)))
            del self._refused[key]
        return sorted(found, key=lambda one: (one.protocol, one.host))

    def close(self) -> None:
        """Detaches everything; may be called twice."""
        for link in self._links:
            os.close(link)
        self._links.clear()
        if self._loaded.maps:
            self._listens.close()
            self._loaded.close()
