"""Builders of recorded things for the tests of the running half: exchanges out of wire bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from kebpf.protocols.base import Exchange, Mark, ProtocolSpec, Sender
from kebpf.protocols.registry import load_protocols
from kebpf.recording.model import Endpoint, Manifest, Mock, TestCase, Tier, Timing
from kebpf.replay.binding import Bindings
from kebpf.replay.matcher import Matcher

PROTOCOLS: dict[str, ProtocolSpec] = load_protocols()
WHEN = Timing(1_700_000_000_000_000_000, 1_700_000_000_100_000_000)


def make_exchange(protocol: str, request: bytes, response: bytes) -> Exchange:
    """What recording sees of the last request on the wire and its response."""
    pairer = PROTOCOLS[protocol].make_pairer()
    mark = Mark(WHEN.start_ns)
    found = pairer.receive_data(Sender.CLIENT, request, mark)
    found += pairer.receive_data(Sender.SERVER, response, mark)
    found += pairer.receive_eof(Sender.SERVER, mark)
    found += pairer.finish(mark)
    exchange = found[-1]
    assert exchange.problem is None
    return exchange


def make_mock(
    protocol: str, destination: str, request: bytes, response: bytes, **fields: Any
) -> Mock:
    exchange = make_exchange(protocol, request, response)
    values: dict[str, Any] = {
        "name": f"mock-{request[:20]!r}",
        "protocol": protocol,
        "destination": Endpoint.parse(destination),
        "request": exchange.request,
        "response": exchange.response,
        "timing": WHEN,
        "tier": Tier.SESSION if exchange.is_session else Tier.BACKGROUND,
        "connection": 1,
    }
    return Mock(**(values | fields))


def make_case(
    name: str, request: bytes, response: bytes, order: int = 1, **fields: Any
) -> TestCase:
    exchange = make_exchange("http", request, response)
    assert exchange.response is not None
    values: dict[str, Any] = {
        "name": name,
        "protocol": "http",
        "request": exchange.request,
        "response": exchange.response,
        "endpoint": Endpoint("tcp", "127.0.0.1", 8000),
        "timing": WHEN,
        "order": order,
    }
    return TestCase(**(values | fields))


class SetInMemory:
    """A test set that was never on a disk."""

    __test__: ClassVar[bool] = False

    def __init__(
        self, cases: Sequence[TestCase] = (), mocks: Sequence[Mock] = (), ports: Sequence[int] = ()
    ) -> None:
        self._cases = list(cases)
        self._mocks = list(mocks)
        self.manifest = Manifest(
            name="set",
            created_ns=time.time_ns(),
            kebpf_version="0",
            kernel="6",
            command=[],
            executable="",
            ports=list(ports),
            set_apart={one.name: one.set_apart for one in cases if one.set_apart is not None},
        )

    def cases(self) -> list[TestCase]:
        return [case for case in self._cases if case.set_apart is None]

    def apart(self) -> list[TestCase]:
        return [case for case in self._cases if case.set_apart is not None]

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        return iter(enumerate(self._mocks))

    def mock_at(self, offset: int) -> Mock:
        return self._mocks[offset]


def make_matcher(recorded: SetInMemory) -> Matcher:
    return Matcher(recorded, Bindings(), PROTOCOLS.__getitem__)
