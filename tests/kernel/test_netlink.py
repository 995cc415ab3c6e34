"""Netlink messages against pyroute2's, and against what the kernel answers."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nla, nlmsg

from kebpf.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    Netlink,
    pack_attribute,
    pack_message,
    pack_nested,
    unpack_messages,
)

NETLINK_ROUTE = 0
RTM_GETLINK, RTM_DELLINK = 18, 17
INTERFACE = struct.Struct("=BxHiII")  # struct ifinfomsg


class Message(nlmsg):  # type: ignore[misc]
    """As the other implementation declares one."""

    fields = (("word", "I"),)
    nla_map = ((1, "NAME", "asciiz"), (2, "DATA", "hex"), (3, "NEST", "inside"))

    class inside(nla):  # type: ignore[misc] # noqa: N801 - named by the map above
        nla_map = ((1, "INNER", "uint32"),)


def test_another_reader_reads_what_is_written() -> None:
    attributes = pack_attribute(1, b"kebpf\0") + pack_nested(3, pack_attribute(1, b"\7\0\0\0"))
    message = Message(pack_message(0x1234, 0x5, 77, struct.pack("=I", 9) + attributes))
    message.decode()
    header = message["header"]
    assert (header["type"], header["flags"], header["sequence_number"]) == (0x1234, 0x5, 77)
    assert message["word"] == 9
    assert message.get_attr("NAME") == "kebpf"
    assert message.get_attr("NEST").get_attr("INNER") == 7


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary())))
def test_messages_in_a_row_are_read_as_written(messages: list[tuple[int, int, bytes]]) -> None:
    written = [pack_message(kind, 0, number, data) for kind, number, data in messages]
    padded = b"".join(one + bytes(-len(one) % 4) for one in written)
    assert list(unpack_messages(padded)) == messages


@given(st.binary(max_size=64))
def test_garbage_ends(data: bytes) -> None:
    assert len(list(unpack_messages(data))) <= len(data) // 16


def test_the_kernel_lists_its_interfaces() -> None:
    netlink = Netlink(NETLINK_ROUTE)
    try:
        links = netlink.dump(RTM_GETLINK, INTERFACE.pack(0, 0, 0, 0, 0))
        numbers = {INTERFACE.unpack_from(link)[2] for link in links}
    finally:
        netlink.close()
    assert numbers == {number for number, _ in socket.if_nameindex()}


def test_a_refusal_is_an_error() -> None:
    """There is no interface of this number to delete, and often no right to."""
    payload = INTERFACE.pack(0, 0, 2**31 - 1, 0, 0)
    netlink = Netlink(NETLINK_ROUTE)
    try:
        with pytest.raises(OSError) as caught:
            netlink.order(pack_message(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, payload), 1)
    finally:
        netlink.close()
    assert caught.value.errno in (errno.ENODEV, errno.EPERM)
