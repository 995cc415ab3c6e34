"""Programs for a redirected cgroup: each calls something and prints what it saw as JSON.

Run as ``callers.py PROCS-FILE NAME ARGUMENT…``: joins the cgroup first.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Report = Any


_ECHO, _ECHO6 = b"\x08\0\xf7\xff\0\0\0\0", b"\x80\0\0\0\0\0\0\0"  # RFC 792, RFC 4443
_SYN = bytes((0x30, 0x39, 0, 80, *bytes(8), 0x50, 2, 0x20, 0, *bytes(4)))  # RFC 9293 section 3.1
_DATAGRAM = bytes((0x30, 0x39, 0, 53, 0, 8, 0, 0))  # RFC 768


def call_streams(*destinations: str) -> Report:
    """Connects to each ``host port``, asks who that is, and exchanges a line."""
    reports = []
    for host, port in zip(destinations[::2], destinations[1::2], strict=True):
        with socket.socket(_family(host)) as sock:
            sock.connect((host, int(port)))
            sock.sendall(b"hello")
            answer = sock.recv(100).decode()
            reports.append([answer, sock.getpeername()[:2], sock.getsockname()[:2]])
    return reports


def call_datagrams(*destinations: str) -> Report:
    """The same by connected datagram sockets, then by unconnected ones."""
    reports = []
    for host, port in zip(destinations[::2], destinations[1::2], strict=True):
        for is_connected in (True, False):
            with socket.socket(_family(host), socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                if is_connected:
                    sock.connect((host, int(port)))
                    sock.send(b"hello")
                    peer = sock.getpeername()[:2]
                else:
                    sock.sendto(b"hello", (host, int(port)))
                    peer = None
                answer, source = sock.recvfrom(100)
                reports.append([answer.decode(), peer, source[:2]])
    return reports


def listen_and_call(host: str, far_host: str) -> Report:
    """Listens, calls its own port, and the same port elsewhere."""
    with socket.create_server((host, 0), family=_family(host)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as own, listener.accept()[0] as accepted:
            accepted.sendall(b"from itself")
            answers = [own.recv(100).decode()]
            peers = [own.getpeername()[:2], accepted.getpeername()[:2] == own.getsockname()[:2]]
        with socket.create_connection((far_host, port)) as far:
            far.sendall(b"hello")
            answers.append(far.recv(100).decode())
    return {"port": port, "answers": answers, "peers": peers}


def listen(*hosts: str) -> Report:
    """Listens on each, a child on one more."""
    listeners = [socket.create_server((host, 0), family=_family(host)) for host in hosts]
    ports = [one.getsockname()[1] for one in listeners]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with socket.create_server(("127.0.0.1", 0)) as own:
            os.write(writing, str(own.getsockname()[1]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return {"ports": ports, "child": child, "child_port": int(os.read(reading, 100))}


def send_raw(*hosts: str) -> Report:
    """A packet of each protocol to each host past connect and sendto; gives the errors' numbers."""
    reports = []
    for host in hosts:
        icmp = socket.IPPROTO_ICMPV6 if ":" in host else socket.IPPROTO_ICMP
        packets = {icmp: _ECHO6 if ":" in host else _ECHO, socket.IPPROTO_TCP: _SYN, 17: _DATAGRAM}
        for protocol, packet in packets.items():
            with socket.socket(_family(host), socket.SOCK_RAW, protocol) as sock:
                try:
                    sock.sendto(packet, (host, 0))
                    reports.append(0)
                except OSError as error:
                    reports.append(error.errno or -1)
    return reports


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


CALLERS: dict[str, Callable[..., Report]] = {
    caller.__name__: caller
    for caller in (call_streams, call_datagrams, listen_and_call, listen, send_raw)
}

if __name__ == "__main__":
    if sys.argv[1] != "-":
        Path(sys.argv[1]).write_text(f"{os.getpid()}\n")
    sys.stdout.write(json.dumps(CALLERS[sys.argv[2]](*sys.argv[3:])) + "\n")
