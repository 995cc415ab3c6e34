"""Packets told of by a rule, against those that were sent; headers against dpkt."""

from __future__ import annotations

import socket

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.kernel.packetlog import read_packet
from tests.kernel.rootless_runs import run_inside, skip_unless_reachable


@given(
    st.ip_addresses(v=4).map(str), st.integers(1, 255), st.binary(max_size=99), st.integers(0, 9)
)
def test_ipv4_packets(host: str, protocol: int, data: bytes, options: int) -> None:
    packet = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=socket.inet_aton(host), p=protocol, data=data)
    packet.hl, packet.opts = 5 + options, bytes(4 * options)
    read = read_packet(bytes(packet))
    assert (read.source, read.destination) == ("10.0.0.1", host)
    assert (read.protocol, read.payload) == (protocol, data)


@given(st.ip_addresses(v=6).map(str), st.binary(max_size=99))
def test_ipv6_packets(host: str, data: bytes) -> None:
    target = socket.inet_pton(socket.AF_INET6, host)
    packet = dpkt.ip6.IP6(src=bytes(15) + b"\1", dst=target, nxt=58, plen=len(data), hlim=64)
    read = read_packet(bytes(packet)[:40] + data)
    assert (read.source, read.protocol, read.payload) == ("::1", 58, data)
    assert socket.inet_pton(socket.AF_INET6, read.destination) == target


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=99))
def test_datagrams(source: int, destination: int, data: bytes) -> None:
    udp = dpkt.udp.UDP(sport=source, dport=destination, ulen=8 + len(data), data=data)
    packet = dpkt.ip.IP(src=bytes(4), dst=bytes(4), p=17, data=bytes(udp))
    assert read_packet(bytes(packet)).as_datagram() == (source, destination, data)


SENDING = """
from kebpf.kernel.interception import MULTICAST_LOG, REFUSED_LOG
from kebpf.kernel.packetlog import PacketLog
multicast, refused = PacketLog(MULTICAST_LOG), PacketLog(REFUSED_LOG)
def send(family, kind, protocol, data, address):
    with socket.socket(family, kind, protocol) as caller:
        try:
            caller.sendto(data, address)
        except OSError as error:
            return error.errno
def read(log):
    return [[one.source, one.destination, one.protocol, one.payload.hex()] for one in log.take()]
"""


@pytest.mark.kernel
def test_multicast_is_told_of_with_its_content() -> None:
    skip_unless_reachable()
    code = f"""{SENDING}
sent = [
    send(socket.AF_INET, socket.SOCK_DGRAM, 0, b"four", ("239.255.0.1", 1900)),
    send(socket.AF_INET6, socket.SOCK_DGRAM, 0, b"six", ("ff0e::1", 1900)),
    send(socket.AF_INET, socket.SOCK_DGRAM, 0, b"none", ("10.0.0.1", 1900)),
]
found = [(one.destination, *one.as_datagram()[1:]) for one in multicast.take()]
told = [[host, port, data.decode()] for host, port, data in found]
print(json.dumps([sent, told, read(refused)]))
"""
    sent, found, refused = run_inside(code)
    assert sent == [None, None, None]
    assert found == [["239.255.0.1", 1900, "four"], ["ff0e::1", 1900, "six"]]
    assert refused == []


@pytest.mark.kernel
def test_other_protocols_are_refused_but_on_loopback() -> None:
    """As root of the network, who may send what others may not."""
    skip_unless_reachable()
    code = f"""{SENDING}
ping, raw = socket.IPPROTO_ICMP, socket.SOCK_RAW
sent = [
    send(socket.AF_INET, raw, ping, bytes.fromhex("0800f7fe00000001"), ("198.51.100.4", 0)),
    send(socket.AF_INET6, raw, 253, b"test", ("2001:db8::4", 0)),
    send(socket.AF_INET, raw, ping, bytes.fromhex("0800f7fe00000001"), ("127.0.0.1", 0)),
]
print(json.dumps([sent, read(refused), read(multicast)]))
"""
    sent, refused, multicast = run_inside(code)
    assert sent == [1, 1, None]  # EPERM, as a cgroup's filter says it
    assert [one[1:] for one in refused] == [
        ["198.51.100.4", 1, "0800f7fe00000001"],
        ["2001:db8::4", 253, b"test".hex()],
    ]
    assert multicast == []


@pytest.mark.kernel
def test_what_the_kernel_says_by_itself_is_no_call_of_the_application() -> None:
    """A datagram to a port that nobody has, answered by ICMP to where it seems to come from."""
    skip_unless_reachable()
    code = f"""{SENDING}
from kebpf.kernel.interception import OWN_MARK
from kebpf.replay.doors import _open_raw, _write_datagram4
packet = _write_datagram4(b"late", ("10.0.0.2", 53), ("127.0.0.1", 9))
_open_raw(socket.AF_INET).sendto(packet, ("127.0.0.1", 0))
print(json.dumps(read(refused)))
"""
    assert run_inside(code) == []
