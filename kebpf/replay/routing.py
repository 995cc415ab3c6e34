"""Which recorded destination a connection means, and which protocols are spoken there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Mock

DNS_PORT = 53
OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Route:
    """A destination as the recording calls it; no ``protocols`` where it was never recorded.

    ``opaque`` are its recorded exchanges in no known protocol, by which alone a server can tell
    where a request of theirs ends.
    """

    destination: Endpoint
    protocols: tuple[str, ...] = ()
    opaque: Sequence[Document] = ()


class Routes:
    """The destinations of a test set's mocks."""

    def __init__(self, mocks: Iterable[Mock] = ()) -> None:
        self._routes: dict[Endpoint, Route] = {}
        self._opaque: dict[Endpoint, list[Document]] = {}
        for mock in mocks:
            self.add(mock)

    def add(self, mock: Mock) -> None:
        """Takes in where one more mock leads."""
        endpoint = mock.destination
        route = self._routes.get(endpoint)
        if mock.protocol == OPAQUE:
            self._opaque.setdefault(endpoint, []).append(_make_fact(mock))
        elif route is not None and mock.protocol in route.protocols:
            return
        names = dict.fromkeys((*(route.protocols if route else ()), mock.protocol))
        self._routes[endpoint] = Route(endpoint, tuple(names), self._opaque.get(endpoint, ()))

    def list_destinations(self) -> list[Endpoint]:
        """All that were recorded."""
        return list(self._routes)

    def find(self, transport: str, host: str, port: int) -> Route:
        """The route for what the application asked for.

        Besides the very destination, two others count as it because they are the same place: the
        other loopback address (a client of ``localhost`` tries ``::1`` first, and here that
        connects) and, for a DNS query, whatever resolver the recording host used.
        """
        asked = Endpoint(transport, normalise_host(host), port)
        for endpoint in (asked, *self._equivalents(asked)):
            if endpoint in self._routes:
                return self._routes[endpoint]
        return Route(asked)

    @property
    def local(self) -> list[Route]:
        """Those to Unix sockets, each to the very path that was recorded."""
        return [route for endpoint, route in self._routes.items() if endpoint.is_local]

    def _equivalents(self, asked: Endpoint) -> list[Endpoint]:
        if asked.port == DNS_PORT:
            return [known for known in self._routes if _is_resolver(known, asked.transport)]
        if not ipaddress.ip_address(asked.host).is_loopback:
            return []
        return [known for known in self._routes if _is_local_twin(known, asked)]


def _make_fact(mock: Mock) -> Document:
    """Responses are not kept but for a greeting's: they may be large and are the matcher's."""
    is_greeting = mock.request["data"] == b""
    return {"request": mock.request, "response": mock.response if is_greeting else None}


def normalise_host(host: str) -> str:
    """A numeric address as recordings write it: no zone, v4-mapped ones as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _is_resolver(known: Endpoint, transport: str) -> bool:
    return known.transport == transport and known.port == DNS_PORT


def _is_local_twin(known: Endpoint, asked: Endpoint) -> bool:
    if (known.transport, known.port) != (asked.transport, asked.port):
        return False
    return ipaddress.ip_address(known.host).is_loopback
