"""Refused attempts against those that the test makes; their packets against dpkt's."""

from __future__ import annotations

import socket

import dpkt
import pytest

from kebpf.kernel.unanswered import read_refusal
from tests.kernel.rootless_runs import run_inside, skip_unless_reachable


def test_a_reset_is_read() -> None:
    reset = dpkt.tcp.TCP(sport=5432, dport=40000, seq=0, flags=0x14)
    host, asker = socket.inet_aton("10.0.0.8"), socket.inet_aton("127.0.0.1")
    packet = dpkt.ip.IP(src=host, dst=asker, p=6, data=reset)
    assert read_refusal(bytes(packet)) == (6, "10.0.0.8")


def test_an_unreachable_port_is_read() -> None:
    host, asker = socket.inet_aton("10.0.0.8"), socket.inet_aton("127.0.0.1")
    sent = dpkt.ip.IP(src=asker, dst=host, p=17, data=dpkt.udp.UDP(sport=4, dport=53, ulen=8))
    told = dpkt.icmp.ICMP(type=3, code=3, data=dpkt.icmp.ICMP.Unreach(data=sent))
    packet = dpkt.ip.IP(src=host, dst=asker, p=1, data=told)
    assert read_refusal(bytes(packet)) == (17, "10.0.0.8")


CALLS = """
from kebpf.kernel.unanswered import UnansweredCalls
calls = UnansweredCalls()
server = socket.create_server(("0.0.0.0", 8000))
def connect(family, host, port):
    with socket.socket(family) as caller:
        return caller.connect_ex((host, port))
statuses = [
    connect(socket.AF_INET, "10.0.0.8", 5432), connect(socket.AF_INET, "10.0.0.8", 5432),
    connect(socket.AF_INET6, "2001:db8::8", 80), connect(socket.AF_INET, "127.0.0.1", 8000),
]
taken, _ = server.accept()
taken.close()  # a connection that ends is not one that was refused
for family, host in ((socket.AF_INET, "10.0.0.9"), (socket.AF_INET6, "2001:db8::9")):
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"q", (host, 53))
print(json.dumps([statuses, sorted(calls.take()), list(calls.take())]))
"""


@pytest.mark.kernel
def test_attempts_that_nobody_answers_are_told_once() -> None:
    skip_unless_reachable()
    statuses, found, later = run_inside(CALLS, intercepts=False)
    assert statuses == [111, 111, 111, 0]
    refused = {6: ["10.0.0.8", "10.0.0.8", "2001:db8::8"], 17: ["10.0.0.9", "2001:db8::9"]}
    assert found == [[number, host] for number, hosts in refused.items() for host in hosts]
    assert later == []
