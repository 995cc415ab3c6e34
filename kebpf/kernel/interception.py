"""Has everything that is sent in this network namespace end at two sockets of ours, by nf_tables.

In a namespace whose every address is local, each packet comes back in through loopback.  There, in
the prerouting hook, TPROXY hands it to a socket of our choice with its destination unchanged: the
accepted connection's own address is the one that was asked for, and the other side sees nothing
but that either.  No connection tracking and no address translation is involved.

The kernel's documentation: networking/tproxy.rst; the numbers: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from kebpf.kernel.errors import KernelError
from kebpf.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    Netlink,
    pack_attribute,
    pack_message,
    pack_nested,
)

OWN_MARK = 0x6B656270  # on packets of kebpf's own sockets, which are left alone
MULTICAST_LOG, REFUSED_LOG = 1, 2  # groups of `kebpf.kernel.packetlog`
HOOK_PORT = 1  # no program listens there, so that nobody's port is in the way

NETFILTER = 12  # of netlink's families
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_IPV4, _IPV6 = 2, 10  # NFPROTO_*
_PREROUTING, _OUTPUT, _PRIORITY = 0, 3, -150  # before any routing decision, as `mangle` is
_ACCEPT, _DROP = 1, 0
_REGISTER, _SECOND_REGISTER, _VERDICT_REGISTER = 1, 2, 0
_META_MARK, _META_USER, _META_L4PROTO = 3, 10, 16
_NETWORK_HEADER = 1
_EQUAL, _AT_MOST, _AT_LEAST = 0, 3, 5
_TABLE, _INCOMING, _OUTGOING = b"kebpf\0", b"incoming\0", b"outgoing\0"

Rule = list[bytes]  # its expressions


@dataclass(frozen=True, slots=True)
class _Family:
    number: int
    any_loopback: tuple[int, bytes]  # where in its header a packet to loopback has which bytes
    multicast: tuple[int, bytes, bytes]  # the same for multicast: the first and the last
    hook_address: bytes


_FAMILIES: dict[int, _Family] = {
    socket.AF_INET: _Family(
        _IPV4, (16, bytes([127])), (16, b"\xe0", b"\xef"), socket.inet_aton("127.0.0.1")
    ),
    socket.AF_INET6: _Family(
        _IPV6,
        (24, socket.inet_pton(socket.AF_INET6, "::1")),
        (24, b"\xff", b"\xff"),
        socket.inet_pton(socket.AF_INET6, "::1"),
    ),
}


def intercept(families: list[int]) -> None:
    """Sends all TCP and UDP of this namespace to port `HOOK_PORT` of 127.0.0.1 and of ::1.

    Left alone is what carries `OWN_MARK`, and TCP to a loopback address where a socket is: there
    the application's own ports are.  What programs send to multicast addresses goes to
    `MULTICAST_LOG`, since no socket can stand for those.  Other protocols are refused and go to
    `REFUSED_LOG`: the kernel would answer them itself.  Raises `KernelError` where the kernel has
    no such rules.
    """
    try:
        netlink = Netlink(NETFILTER)
        try:
            for family in families:
                _install(netlink, _FAMILIES[family])
        finally:
            netlink.close()
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
        reason = "this kernel has no nf_tables with tproxy" if missing else error.strerror
        raise KernelError(f"what the application sends cannot be intercepted: {reason}") from None


def _install(netlink: Netlink, family: _Family) -> None:
    """A kernel may lack the log only; then nobody hears of what would be in it."""
    try:
        netlink.order(*_write_batch(family, has_log=True))
    except FileNotFoundError:
        netlink.order(*_write_batch(family, has_log=False))


def _write_batch(family: _Family, has_log: bool) -> tuple[bytes, int]:
    """All or nothing: the kernel takes what is between the two marks as one change."""
    incoming = [*_pass_own(family), *([_log_multicast(family)] if has_log else []), *_take(family)]
    outgoing = [*_pass_out(family), *_refuse(has_log)]
    orders = [
        (_NEW_TABLE, pack_attribute(1, _TABLE)),
        (_NEW_CHAIN, _write_chain(_INCOMING, _PREROUTING)),
        (_NEW_CHAIN, _write_chain(_OUTGOING, _OUTPUT)),
        *((_NEW_RULE, _write_rule(_INCOMING, rule)) for rule in incoming),
        *((_NEW_RULE, _write_rule(_OUTGOING, rule)) for rule in outgoing),
    ]
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK
    messages = [
        pack_message(
            _SUBSYSTEM << 8 | kind, flags, number, _write_head(family.number, 0) + attributes
        )
        for number, (kind, attributes) in enumerate(orders, 1)
    ]
    begin = pack_message(_BATCH_BEGIN, NLM_F_REQUEST, 0, _write_head(0, _SUBSYSTEM))
    end = pack_message(_BATCH_END, NLM_F_REQUEST, 0, _write_head(0, _SUBSYSTEM))
    return b"".join((begin, *messages, end)), len(orders)


def _write_head(family: int, resource: int) -> bytes:
    return struct.pack(">BBH", family, 0, resource)  # struct nfgenmsg


def _write_chain(name: bytes, hook: int) -> bytes:
    place = pack_nested(4, _word(1, hook), _word(2, _PRIORITY & 0xFFFFFFFF))
    names = pack_attribute(1, _TABLE) + pack_attribute(3, name)
    return names + place + pack_attribute(7, b"filter\0")


def _write_rule(chain: bytes, rule: Rule) -> bytes:
    listed = pack_nested(4, *(pack_nested(1, expression) for expression in rule))
    return pack_attribute(1, _TABLE) + pack_attribute(2, chain) + listed


def _pass_own(family: _Family) -> list[Rule]:
    is_local = [*_is_protocol(socket.IPPROTO_TCP), *_is_to_loopback(family)]
    return [
        [_meta(_META_MARK), _compare(_EQUAL, struct.pack("=I", OWN_MARK)), _decide(_ACCEPT)],
        [*is_local, _has_socket(), _decide(_ACCEPT)],
    ]


def _log_multicast(family: _Family) -> Rule:
    offset, first, last = family.multicast
    is_multicast = [_payload(offset, 1), _compare(_AT_LEAST, first), _compare(_AT_MOST, last)]
    wanted = [*_is_protocol(socket.IPPROTO_UDP), *is_multicast]
    return [*wanted, _log(MULTICAST_LOG), _decide(_DROP)]


def _take(family: _Family) -> list[Rule]:
    return [
        [
            *_is_protocol(number),
            _load(_REGISTER, family.hook_address),
            _load(_SECOND_REGISTER, struct.pack(">H", HOOK_PORT)),
            _expression(
                "tproxy", _word(1, family.number), _word(2, _REGISTER), _word(3, _SECOND_REGISTER)
            ),
            _decide(_ACCEPT),
        ]
        for number in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
    ]


def _pass_out(family: _Family) -> list[Rule]:
    protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
    return [
        *([*_is_protocol(number), _decide(_ACCEPT)] for number in protocols),
        [*_is_to_loopback(family), _decide(_ACCEPT)],
    ]


def _refuse(has_log: bool) -> list[Rule]:
    """Only what a program's own socket sends: what the kernel says by itself has no user."""
    log = [_log(REFUSED_LOG)] if has_log else []
    return [[_meta(_META_USER), *log, _decide(_DROP)]]


def _is_protocol(number: int) -> Rule:
    return [_meta(_META_L4PROTO), _compare(_EQUAL, bytes([number]))]


def _is_to_loopback(family: _Family) -> Rule:
    offset, prefix = family.any_loopback
    return [_payload(offset, len(prefix)), _compare(_EQUAL, prefix)]


def _word(kind: int, value: int) -> bytes:
    return pack_attribute(kind, struct.pack(">I", value))


def _expression(name: str, *attributes: bytes) -> bytes:
    return pack_attribute(1, name.encode() + b"\0") + pack_nested(2, *attributes)


def _meta(key: int) -> bytes:
    return _expression("meta", _word(1, _REGISTER), _word(2, key))


def _payload(offset: int, size: int) -> bytes:
    words = (_REGISTER, _NETWORK_HEADER, offset, size)
    return _expression("payload", *(_word(kind, value) for kind, value in enumerate(words, 1)))


def _compare(how: int, data: bytes) -> bytes:
    value = pack_nested(3, pack_attribute(1, data))
    return _expression("cmp", _word(1, _REGISTER), _word(2, how), value)


def _has_socket() -> bytes:
    """Ends the rule where no socket, connected or listening, is there to take the packet."""
    return _expression("socket", _word(1, 0), _word(2, _REGISTER))


def _load(register: int, data: bytes) -> bytes:
    return _expression("immediate", _word(1, register), pack_nested(2, pack_attribute(1, data)))


def _log(group: int) -> bytes:
    return _expression("log", pack_attribute(1, struct.pack(">H", group)))


def _decide(verdict: int) -> bytes:
    data = pack_nested(2, pack_nested(2, _word(1, verdict)))
    return _expression("immediate", _word(1, _VERDICT_REGISTER), data)
