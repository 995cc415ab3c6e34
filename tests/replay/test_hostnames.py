"""Names of addresses: looked up, asked for, written down on the host."""

from __future__ import annotations

from pathlib import Path

import dpkt

from kebpf.recording.model import Endpoint, Tls
from kebpf.replay.hostnames import HostNames
from tests.recording.builders import make_mock
from tests.replay.sets import make_mock as make_wire_mock


def test_names_that_were_looked_up() -> None:
    query = dpkt.dns.DNS(qd=[dpkt.dns.DNS.Q(name="www.shop.example")], id=7)
    answer = dpkt.dns.DNS(bytes(query))
    answer.qr = dpkt.dns.DNS_R
    alias = dpkt.dns.DNS.RR(name="www.shop.example", type=dpkt.dns.DNS_CNAME, ttl=60)
    alias.cname, alias.rdata = "cdn.example", b""
    answer.an = [alias, dpkt.dns.DNS.RR(name="cdn.example", ip=b"\x0a\0\0\x07", ttl=60)]
    names = HostNames()
    names.learn(make_wire_mock("dns", "10.0.0.2:53/udp", bytes(query), bytes(answer)))
    assert names.find("10.0.0.7") == ["www.shop.example", "cdn.example"]
    assert names.find("10.0.0.8") == []


def test_names_that_were_asked_for() -> None:
    names = HostNames()
    place = Endpoint("tcp", "2001:db8::7", 443)
    for sni in ("shop.example", "", "bank.example", "shop.example"):
        names.learn(make_mock(destination=place, tls=Tls(sni)))
    names.learn(make_mock(destination=place))
    assert names.find("2001:db8::7") == ["shop.example", "bank.example"]


def test_names_of_this_host(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.7 db.internal db # 10.0.0.7 not-this\n127.0.0.1 here\n#10.0.0.7 nor\n")
    names = HostNames(hosts)
    assert names.find("10.0.0.7") == ["db.internal", "db"]
    assert names.find("127.0.0.1") == ["localhost", "here"]
    assert names.find("db.internal") == []
    assert HostNames(tmp_path / "none").find("127.0.0.1") == ["localhost"]
