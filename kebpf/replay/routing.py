"""Which recorded destination a connection means, and which protocols are spoken there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Mock, Tls
from kebpf.replay.hostnames import HostNames

DNS_PORT = 53
OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Route:
    """A destination as the recording calls it; no ``protocols`` where it was never recorded.

    ``opaque`` are its recorded exchanges in no known protocol, by which alone a server can tell
    where a request of theirs ends.  ``tls`` are what its encrypted connections were like.
    """

    destination: Endpoint
    protocols: tuple[str, ...] = ()
    opaque: Sequence[Document] = ()
    tls: tuple[Tls, ...] = ()

    @property
    def offers_tls(self) -> bool:
        """Whether a client that asks for TLS gets it: as recorded, and where that is not known."""
        return bool(self.tls) or not self.protocols

    def greets(self, is_encrypted: bool) -> bool:
        """Whether a greeting in no known protocol came so."""
        greetings = (fact for fact in self.opaque if _is_greeting(fact))
        return any(fact["is_encrypted"] == is_encrypted for fact in greetings)

    def list_opaque(self, is_encrypted: bool) -> Sequence[Document]:
        """The exchanges in no known protocol that came so; if none did, what the others asked."""
        if not self.tls:
            alike = [] if is_encrypted else self.opaque
        else:
            alike = [fact for fact in self.opaque if fact["is_encrypted"] == is_encrypted]
        return alike or [fact for fact in self.opaque if not _is_greeting(fact)]


class Routes:
    """The destinations of a test set's mocks."""

    def __init__(self, mocks: Iterable[Mock] = ()) -> None:
        self._routes: dict[Endpoint, Route] = {}
        self._opaque: dict[Endpoint, list[Document]] = {}
        self._known: set[tuple[Endpoint, str, Tls | None]] = set()
        self._names = HostNames()
        for mock in mocks:
            self.add(mock)

    def add(self, mock: Mock) -> None:
        """Takes in where one more mock leads."""
        endpoint = mock.destination
        self._names.learn(mock)
        if mock.protocol == OPAQUE:
            self._opaque.setdefault(endpoint, []).append(_make_fact(mock))
        key = endpoint, mock.protocol, mock.tls
        if key in self._known:
            return
        self._known.add(key)
        route = self._routes.get(endpoint, Route(endpoint))
        names = dict.fromkeys((*route.protocols, mock.protocol))
        tls = route.tls if mock.tls is None else tuple(dict.fromkeys((*route.tls, mock.tls)))
        self._routes[endpoint] = Route(endpoint, tuple(names), self._opaque.get(endpoint, ()), tls)

    @property
    def protocols(self) -> set[str]:
        """Those spoken at any of them."""
        return {name for route in self._routes.values() for name in route.protocols}

    @property
    def has_tls(self) -> bool:
        """Whether any destination was called over TLS."""
        return any(route.tls for route in self._routes.values())

    def find_names(self, host: str) -> list[str]:
        """What a numeric address is called."""
        return self._names.find(host)

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
    fact = {"request": mock.request, "response": None, "is_encrypted": mock.tls is not None}
    return fact | ({"response": mock.response} if _is_greeting(fact) else {})


def _is_greeting(fact: Document) -> bool:
    return bool(fact["request"]["data"] == b"")


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
