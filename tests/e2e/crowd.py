"""The shop recorded while a crowd is in it, and whose each call really was."""

from __future__ import annotations

import json
import random
import sys
import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from examples.processes import Process
from examples.recorder import with_sources
from examples.services import EXAMPLES, Services
from examples.shop.drive import Answer, Client, browse, join, look_after, shop
from tests.e2e.kebpf_runs import Entry, recording
from tests.e2e.shop_load import Customer

ID_HEADER = "X-Request-Id"
ERRANDS = ((browse,), (join, shop), (join, look_after))  # by turns: what a customer comes for
TRACE = "trace.json"
SLACK_NS = 50_000  # by which the kernel's clock and the program's may be apart


class Guest(Customer):
    """A customer whose requests have numbers."""

    def __init__(self, base_url: str, name: str) -> None:
        super().__init__(base_url, is_quiet=True)
        self._name = name

    def send(
        self, method: str, path: str, expected: int = 200, *,
        headers: Mapping[str, str] | None = None, **options: Any,
    ) -> Answer:  # fmt: skip
        number = sha256(f"{self._name}-{self.requests + 1}".encode()).hexdigest()[:32]
        numbered = {**(headers or {}), ID_HEADER: number}
        return super().send(method, path, expected, headers=numbered, **options)


def crowd(base_url: str, guests: int, rounds: int = 1) -> int:
    """Each guest has a request in flight nearly always; gives how many were sent.

    Raises ``AssertionError`` when a status was not the expected one.
    """
    together = threading.Barrier(guests)

    def work(number: int) -> Client:
        guest = Guest(base_url, f"guest{number}")
        choice = random.Random(f"guest {number}")
        together.wait()
        try:
            for round_ in range(rounds):
                for part in ERRANDS[(number + round_) % len(ERRANDS)]:
                    part(guest, choice)
        finally:
            guest.close()
        return guest

    with ThreadPoolExecutor(guests) as pool:
        done = [future.result() for future in [pool.submit(work, each) for each in range(guests)]]
    assert not any(guest.unexpected for guest in done)
    return sum(guest.requests for guest in done)


def start_traced_shop(services: Services, trace: Path) -> Process:
    """The shop, which leaves ``trace`` when it is stopped."""
    environment = with_sources({**services.shop_environment, "SHOP_TRACE": str(trace)})
    command = [sys.executable, "-m", "tests.e2e.traced_shop"]
    process = Process("shop", command, environment=environment, folder=EXAMPLES)
    try:
        process.wait_for(lambda line: "Uvicorn running" in line)
    except BaseException:
        process.stop()
        raise
    return process


def record_crowd(
    services: Services, path: Path, guests: int, rounds: int = 1, options: Sequence[str] = ()
) -> tuple[Entry, int]:
    """Records the shop with so many guests in it; gives the summary and what was sent."""
    process = start_traced_shop(services, path.with_suffix(".trace"))
    try:
        crowd(services.shop_url, 2)  # pools and caches are filled by then
        with recording(path, "--pid", str(process.pid), *options) as summary:
            requests = crowd(services.shop_url, guests, rounds)
    finally:
        process.stop()
    return summary, requests


@dataclass(frozen=True, slots=True)
class Sending:
    """Bytes the shop may have sent: when (nanoseconds), from and to which port, for whom."""

    begun_ns: int
    ended_ns: int
    own_port: int
    port: int
    request: str


class Trace:
    """What the traced shop wrote down."""

    def __init__(self, path: Path) -> None:
        self._by_port: dict[int, list[Sending]] = defaultdict(list)
        for fields in json.loads(path.read_text()):
            sending = Sending(*fields)
            self._by_port[sending.port].append(sending)
        for sendings in self._by_port.values():
            sendings.sort(key=lambda one: one.begun_ns)
        self._starts = {p: [one.begun_ns for one in found] for p, found in self._by_port.items()}

    def find(self, port: int, time_ns: int) -> list[Sending]:
        """Those to a port that may have been under way at a time: two clocks were read."""
        sendings = self._by_port.get(port, [])
        at = bisect_right(self._starts.get(port, []), time_ns + SLACK_NS)
        near = sendings[max(at - 16, 0) : at]
        return [one for one in near if one.ended_ns + SLACK_NS >= time_ns]


@dataclass
class Judgement:
    """How the calls of a test set were attributed, compared with the truth.

    ``right``, ``wrong`` and ``open_`` count by protocol and evidence; ``unknown`` are calls of
    which the trace does not say whose they are; ``excluded`` open calls whose candidates do not
    hold their request.
    """

    right: Counter[tuple[str, str]] = field(default_factory=Counter)
    open_: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    unknown: int = 0
    nobody: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.right.total() + self.open_.total() + len(self.wrong) + len(self.excluded)

    def describe(self) -> str:
        """One line for a table."""
        kinds: Counter[str] = Counter()
        for (_, kind), number in self.right.items():
            kinds[kind] += number
        right = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
        share = self.open_.total() / max(self.total, 1)
        wrong = len(self.wrong) + len(self.excluded)
        return (
            f"{self.total} calls: {right}; open {share:.1%}; wrong {wrong}; {self.unknown} unknown"
        )


def judge(entries: Sequence[Entry], trace: Trace) -> Judgement:
    """Compares each call of the shop's own with the trace."""
    numbers = {one["name"]: number_of(one) for one in entries if one["kind"] == "test"}
    mocks = [one for one in entries if one["kind"] == "mock" and one["tier"] != "session"]
    own_ports = _learn_ports(mocks, trace)
    found = Judgement()
    for mock in mocks:
        owners = _owners_of(mock, trace, own_ports)
        if len(owners) != 1:
            found.unknown += 1
            continue
        _judge_call(found, mock, owners.pop(), numbers)
    return found


def _judge_call(found: Judgement, mock: Entry, owner: str, numbers: Mapping[str, str]) -> None:
    kind = (mock["protocol"], mock["evidence"])
    line = f"{mock['name']} {mock['protocol']} {mock['evidence']} {str(mock['request'])[:200]}"
    if mock["case"] is not None:
        given = numbers[mock["case"]]
        if given == owner:
            found.right[kind] += 1
        else:
            found.wrong.append(f"{line}: {owner}, not {given}")
    elif mock["candidates"]:
        given_all = {numbers[name] for name in mock["candidates"]}
        if owner in given_all or owner not in numbers.values():
            found.open_[kind] += 1
        else:
            found.excluded.append(f"{line}: {owner}, not one of {sorted(given_all)}")
    elif owner in numbers.values():
        found.wrong.append(f"{line}: {owner}, not nobody")
    else:
        found.nobody[mock["tier"]] += 1


def _learn_ports(mocks: Sequence[Entry], trace: Trace) -> dict[int, int]:
    """The shop's own port of each connection, by the calls of which only one can be meant."""
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for mock in mocks:
        ports = {one.own_port for one in _find(mock, trace)}
        if len(ports) == 1:
            votes[mock["connection"]].update(ports)
    return {connection: ports.most_common(1)[0][0] for connection, ports in votes.items()}


def _owners_of(mock: Entry, trace: Trace, own_ports: Mapping[int, int]) -> set[str]:
    wanted = own_ports.get(mock["connection"])
    return {one.request for one in _find(mock, trace) if one.own_port == wanted}


def _find(mock: Entry, trace: Trace) -> list[Sending]:
    port = int(mock["destination"].rpartition(":")[2])
    return trace.find(port, mock["timing"]["start_ns"])


def number_of(case: Entry) -> str:
    """The number of the request a case was made of."""
    headers = {name.lower(): value for name, value in case["request"]["headers"]}
    return str(headers.get(ID_HEADER.lower(), ""))
