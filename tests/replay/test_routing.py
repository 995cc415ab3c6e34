from __future__ import annotations

import pytest

from kebpf.replay.routing import Routes, normalise_host
from tests.replay.sets import make_mock

HTTP = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n")


def make_routes(*destinations: str) -> Routes:
    return Routes(make_mock("http", one, *HTTP) for one in destinations)


class TestFind:
    def test_the_very_destination(self) -> None:
        route = make_routes("10.0.0.7:80", "10.0.0.8:80").find("tcp", "10.0.0.8", 80)
        assert (str(route.destination), route.protocols) == ("10.0.0.8:80", ("http",))

    def test_another_place_is_never_taken_for_it(self) -> None:
        routes = make_routes("10.0.0.7:80", "10.0.0.7:443/udp")
        for transport, host, port in (
            ("tcp", "10.0.0.8", 80),
            ("tcp", "10.0.0.7", 81),
            ("udp", "10.0.0.7", 80),
            ("tcp", "127.0.0.1", 80),
        ):
            route = routes.find(transport, host, port)
            assert route.protocols == ()
            assert (route.destination.host, route.destination.port) == (host, port)

    def test_the_loopback_addresses_are_one_host(self) -> None:
        routes = make_routes("127.0.0.1:5432")
        assert str(routes.find("tcp", "::1", 5432).destination) == "127.0.0.1:5432"
        assert routes.find("tcp", "::1", 5433).protocols == ()
        assert str(make_routes("[::1]:80").find("tcp", "127.0.0.1", 80).destination) == "[::1]:80"

    def test_a_recorded_destination_goes_before_its_twin(self) -> None:
        routes = make_routes("127.0.0.1:80", "[::1]:80")
        assert str(routes.find("tcp", "::1", 80).destination) == "[::1]:80"

    def test_any_resolver_stands_for_the_recorded_one(self) -> None:
        routes = make_routes("10.0.0.2:53/udp")
        assert str(routes.find("udp", "127.0.0.53", 53).destination) == "10.0.0.2:53/udp"
        assert routes.find("tcp", "127.0.0.53", 53).protocols == ()

    def test_protocols_of_one_destination_are_kept_in_recorded_order(self) -> None:
        mocks = [
            make_mock("opaque", "10.0.0.7:80", b"\1ask", b"\2tell"),
            make_mock("http", "10.0.0.7:80", *HTTP),
        ]
        route = Routes(mocks).find("tcp", "::ffff:10.0.0.7", 80)
        assert route.protocols == ("opaque", "http")
        assert [fact["request"]["data"] for fact in route.opaque] == [b"\1ask"]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("10.0.0.7", "10.0.0.7"),
    ],
)
def test_normalise_host(written: str, plain: str) -> None:
    assert normalise_host(written) == plain
