"""What a round of the drive looks like from outside: answers, and what the servers were asked."""

from __future__ import annotations

import gzip
import itertools
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from examples.oracle import ask_redis, list_http_requests
from examples.services import ROLE, Services
from examples.shop.bugs import Difference
from examples.shop.drive import Answer, Client

SESSION_COMMANDS = ('"HELLO"', '"CLIENT"', '"SELECT"', '"ECHO"')
GENERATED = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::\d\d)?))"
    r"|(?P<date>\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<value>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # uuid4
    r"|\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{20}\b|\b[0-9a-f]{10}\b"
    r"|(?<![\w-])(?=[\w-]*\d)[\w-]{43}(?![\w-]))"  # token_urlsafe(32)
)


@dataclass
class Step:
    """A request of the drive, its answer, and the calls it caused."""

    method: str
    path: str
    status: int = 0
    headers: list[str] = field(default_factory=list)
    body: str = ""
    calls: list[str] = field(default_factory=list)


class DiffersError(Exception):
    """A step is not as it was in the round compared with."""


class Names:
    """Gives each generated value a number in the order of appearance, one to one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def replace(self, text: str) -> str:
        """The text with numbers in place of generated values; equal times are equal."""
        return GENERATED.sub(self._name, text)

    def _name(self, match: re.Match[str]) -> str:
        if match["date"]:
            return "<date>"
        key = match[0]
        if match["time"]:
            key = str(datetime.fromisoformat(match["time"]).timestamp())
        return self._names.setdefault(key, f"<{len(self._names)}>")


class Watch:
    """Reads what PostgreSQL's log, Redis's MONITOR and the rates service say was asked."""

    def __init__(self, services: Services, monitor: BinaryIO) -> None:
        self._services = services
        self._monitor = monitor
        self._markers = itertools.count()
        self._requests_seen = len(list_http_requests(services.rates_url))
        self._last_marker = "none yet"

    def take_calls(self) -> list[str]:
        """All calls since the last time, in the order each server saw them."""
        marker = f"marker-{id(self)}-{next(self._markers)}"
        return [*self._take_sql(marker), *self._take_redis(marker), *self._take_http()]

    def _take_sql(self, marker: str) -> list[str]:
        with self._services.connect_postgres() as connection:
            connection.execute(f"SELECT '{marker}'")
        self._services.postgres.wait_for(lambda line: marker in line)
        newest_first = reversed(self._services.postgres.lines)
        new = list(itertools.takewhile(lambda line: self._last_marker not in line, newest_first))
        self._last_marker = f"'{marker}'"
        return list(_join_statements(new[::-1]))

    def _take_redis(self, marker: str) -> list[str]:
        ask_redis(self._services.redis_port, f"ECHO {marker}")
        calls = []
        while marker not in (line := self._monitor.readline().decode()):
            assert line, "Redis closed the MONITOR connection"
            command = line.partition("] ")[2].rstrip()
            if command and not command.startswith(SESSION_COMMANDS):
                calls.append(f"redis {command}")
        return calls

    def _take_http(self) -> list[str]:
        requests = list_http_requests(self._services.rates_url)
        new, self._requests_seen = requests[self._requests_seen :], len(requests)
        return ["http " + " ".join(each) for each in new]


def _join_statements(lines: list[str]) -> Iterator[str]:
    """The shop's statements, each with its parameters."""
    statement = ""
    for line in lines:
        match = re.match(rf"{ROLE} \d+ (LOG|DETAIL):  (.*)", line)
        if match is None:
            continue
        if match[1] == "LOG":
            if statement:
                yield statement
            statement = "sql " + re.sub(r"^(statement|execute [^:]+): ", "", match[2])
        else:
            statement += f" -- {match[2]}"
    if statement:
        yield statement


@contextmanager
def watching(services: Services) -> Iterator[Watch]:
    """A watch from now on."""
    with (
        socket.create_connection(("127.0.0.1", services.redis_port), timeout=30) as connection,
        connection.makefile("rb") as monitor,
    ):
        connection.sendall(b"MONITOR\r\n")
        assert monitor.readline() == b"+OK\r\n"
        watch = Watch(services, monitor)
        watch.take_calls()
        yield watch


@dataclass
class TracingClient(Client):
    """A client of the drive that also writes down a step a request.

    Raises `DiffersError` after the first one that is not as in ``healthy``, if that is given.
    """

    watch: Watch | None = None
    names: Names = field(default_factory=Names)
    healthy: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def send(
        self,
        method: str,
        path: str,
        expected: int = 200,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        is_new: bool = False,
        is_chunked: bool = False,
    ) -> Answer:
        answer = super().send(
            method,
            path,
            expected,
            body=body,
            headers=headers,
            is_new=is_new,
            is_chunked=is_chunked,
        )
        assert self.watch is not None
        calls = [self.names.replace(call) for call in self.watch.take_calls()]
        route = self.names.replace(path.partition("?")[0])
        step = Step(method, route, answer.status, calls=calls)
        step.body, step.headers = self._read(answer)
        self.steps.append(step)
        if self.healthy and step != self.healthy[len(self.steps) - 1]:
            raise DiffersError
        return answer

    def _read(self, answer: Answer) -> tuple[str, list[str]]:
        body, left_out = answer.body, {"date"}
        if answer.header("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
            left_out.add("content-length")  # follows from the generated values
        headers = [
            self.names.replace(f"{name}: {value}")
            for name, value in answer.headers
            if name.lower() not in left_out
        ]
        return self.names.replace(body.decode("utf-8", "backslashreplace")), headers


def find_differences(before: Step, after: Step) -> set[Difference]:
    """In what two runs of the same request differ."""
    lost, extra = Counter(before.calls), Counter(after.calls)
    lost, extra = lost - extra, extra - lost
    found = {
        Difference.STATUS: before.status != after.status,
        Difference.HEADER: before.headers != after.headers,
        Difference.BODY: before.body != after.body,
        Difference.MISSING_CALL: bool(lost) and not extra,
        Difference.EXTRA_CALL: bool(extra) and not lost,
        Difference.CHANGED_CALL: bool(lost) and bool(extra),
    }
    return {difference for difference, is_there in found.items() if is_there}


def has_route(step: Step, route: str) -> bool:
    """Whether a step's path is one of a route such as ``/orders/{order_id}``."""
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), step.path) is not None
