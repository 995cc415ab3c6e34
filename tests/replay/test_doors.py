"""Answers by datagram against dpkt and the checksum's definition; doors in a real network."""

from __future__ import annotations

import socket
import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.replay.doors import _write_datagram4, _write_datagram6
from tests.kernel.rootless_runs import run_inside, skip_unless_reachable

PORTS = st.integers(1, 65535)
ADDRESSES4 = st.ip_addresses(v=4).map(str)
ADDRESSES6 = st.ip_addresses(v=6).map(str)


@given(st.binary(max_size=300), ADDRESSES4, PORTS, ADDRESSES4, PORTS)
def test_ipv4_datagrams(data: bytes, host: str, port: int, to_host: str, to_port: int) -> None:
    packet = dpkt.ip.IP(_write_datagram4(data, (host, port), (to_host, to_port)))
    assert (packet.src, packet.dst) == (socket.inet_aton(host), socket.inet_aton(to_host))
    assert (packet.p, packet.len, packet.hl) == (17, len(data) + 28, 5)
    assert (packet.data.sport, packet.data.dport) == (port, to_port)
    assert (packet.data.ulen, packet.data.data) == (len(data) + 8, data)


@given(st.binary(max_size=300), ADDRESSES6, PORTS, ADDRESSES6, PORTS)
def test_ipv6_datagrams(data: bytes, host: str, port: int, to_host: str, to_port: int) -> None:
    raw = _write_datagram6(data, (host, port), (to_host, to_port))
    packet = dpkt.ip6.IP6(raw)
    addresses = [socket.inet_pton(socket.AF_INET6, one) for one in (host, to_host)]
    assert [packet.src, packet.dst] == addresses
    assert (packet.nxt, packet.plen) == (17, len(data) + 8)
    assert (packet.data.sport, packet.data.dport, packet.data.data) == (port, to_port, data)
    assert packet.data.sum != 0
    assert add_words(b"".join(addresses) + struct.pack(">II", packet.plen, 17) + raw[40:]) == 0xFFFF


def add_words(data: bytes) -> int:
    """RFC 1071, word by word: 0xffff over what holds its own checksum."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


SERVING = """
import asyncio
from kebpf.replay.doors import DoorDatagrams, open_datagram_door
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, source):
        wanted = self.transport.original_destination(*source[:2])
        self.transport.sendto(data[:4] + repr(wanted).encode() + data[4:], source)
def ask(family, host, data, is_connected):
    with socket.socket(family, socket.SOCK_DGRAM) as caller:
        caller.settimeout(10)
        if is_connected:
            caller.connect((host, 53)); caller.send(data)
        else:
            caller.sendto(data, (host, 53))
        answer, source = caller.recvfrom(65535)
        return [len(answer), answer[:24].decode(), source[:2]]
async def serve(asked):
    doors = [open_datagram_door(family) for family in (socket.AF_INET, socket.AF_INET6)]
    transports = [DoorDatagrams(door, Echo()) for door in doors]
    found = [await asyncio.to_thread(ask, *one) for one in asked]
    for transport in transports: transport.close()
    await asyncio.sleep(0)
    print(json.dumps([found, [transport.is_closing() for transport in transports]]))
"""


@pytest.mark.kernel
@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize(
    ("family", "host"),
    [
        (socket.AF_INET, "10.0.0.2"),
        (socket.AF_INET, "127.0.0.53"),
        (socket.AF_INET6, "2001:db8::2"),
        (socket.AF_INET6, "::1"),
    ],
)
def test_an_answer_comes_from_where_the_question_went(
    family: int, host: str, is_connected: bool
) -> None:
    skip_unless_reachable()
    asked = [int(family), host, "abcd", is_connected]
    code = f"{SERVING}\nasyncio.run(serve([[{int(family)}, {host!r}, b'abcd', {is_connected}]]))"
    found, are_closing = run_inside(code)
    expected = "abcd" + repr((host, 53))
    assert found == [[len(expected), expected[:24], [host, 53]]], asked
    assert are_closing == [True, True]


@pytest.mark.kernel
@pytest.mark.parametrize(("family", "host"), [(2, "10.0.0.2"), (10, "2001:db8::2")])
def test_the_longest_datagram_is_answered(family: int, host: str) -> None:
    skip_unless_reachable()
    size = 65000
    code = f"{SERVING}\nasyncio.run(serve([[{family}, {host!r}, b'x' * {size}, True]]))"
    [[length, _, source]], _ = run_inside(code)
    assert (length, source) == (size + len(repr((host, 53))), [host, 53])
