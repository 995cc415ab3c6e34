"""What the running half of a test asks of its neighbours: steering, matcher, test set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from kebpf.protocols.base import Answerer, Document
from kebpf.recording.model import Endpoint, Manifest, Mock, Strength, TestCase, Tls
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.events import CallFinding, Ledger, Mismatch
from kebpf.replay.processes import Group

Comparing = Callable[
    [TestCase, Any, Any, Bindings, Window], tuple[Sequence[Mismatch], Strength]
]  # case, recorded and actual view of the response, bindings, the time in which it was made


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket of the application began to listen; ``host`` is numeric (``0.0.0.0``: all).

    ``mark`` is what a connection to it must carry so that it is not redirected too (``SO_MARK``).
    """

    pid: int
    host: str
    port: int
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Packets that were not let out: neither TCP nor UDP, or past the redirection.

    ``protocol`` is its name in small letters, or ``ip-`` and its number.
    """

    protocol: str
    host: str
    packets: int


@dataclass(frozen=True, slots=True)
class ResponderPorts:
    """Where the responder is: ports on 127.0.0.1 and on ::1 (``None``: the host has no IPv6)."""

    tcp4: int
    udp4: int
    tcp6: int | None = None
    udp6: int | None = None


class Redirect(Protocol):
    """Knows for a redirected socket which destination the application asked for."""

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        """The numeric host and port meant by the socket whose own end is ``host``, ``port``."""


@runtime_checkable
class Discerning(Protocol):
    """A redirect whose responder anybody on the host can reach, and that can tell who did."""

    def is_foreign(self, own: tuple[str, int], other: tuple[str, int]) -> bool:
        """Whether the socket whose own end is ``own`` is surely none of the application's."""


class Steering(Redirect, Protocol):
    """The kernel's part in a test: redirects what a group sends, tells where it listens."""

    def attach(self, group: Group, ports: ResponderPorts) -> None:
        """Starts redirecting, before any process is in the group.  Raises ``OSError``."""

    def watch_listening(self) -> AsyncIterator[Listening]:
        """Each socket of the group that begins to listen, from `attach` on."""

    def take_refusals(self) -> Sequence[Refusal]:
        """The packets that could not be answered and were not let out, since the last call."""

    def close(self) -> None:
        """Undoes all of it."""


class Clock(Protocol):
    """The time that the application lives in, where that is not this host's."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""

    def extend(self, environment: dict[str, str], /) -> dict[str, str]:
        """The application's environment with what gives it this time."""


class Answering(Protocol):
    """Finds the answers for whatever is called."""

    def for_destination(
        self, destination: Endpoint, protocol: str | None, tls: Tls | None = None, /
    ) -> Answerer:
        """Answers the calls on a connection, encrypted or not, to one destination."""

    def facts_for(self, destination: Endpoint, /) -> list[Document]:
        """The recorded session exchanges of a destination."""


class CaseState(Protocol):
    """The calls of the case now running; ``unplaced`` of them ran in a database not compared."""

    unplaced: int

    def has_late(self) -> bool:
        """Whether calls are made after its response, so that more may be."""


class Matching(Answering, Protocol):
    """Chooses the mocks of one test set's run."""

    on_call: Callable[[], None] | None

    @property
    def current(self) -> CaseState:
        """The case now running."""

    def begin_case(self, case: TestCase | None, now_ns: int, /) -> None:
        """Calls from now on belong to ``case`` (``None``: to the start-up)."""

    def pending(self) -> list[str]:
        """The mocks of the current case that were not called yet."""

    def pending_delay_ns(self) -> int | None:
        """How long after the request the last of them was made; ``None``: any time may do."""

    def end_case(self, now_ns: int, /) -> list[CallFinding]:
        """The case is over: what its calls were that they were not when recorded."""

    def finish(self) -> tuple[list[CallFinding], Ledger]:
        """The run is over: findings that belong to no one case, and what became of each mock."""


class Recorded(Protocol):
    """A test set, opened."""

    __test__: ClassVar[bool] = False

    @property
    def manifest(self) -> Manifest:
        """Its head."""

    def cases(self) -> Iterable[TestCase]:
        """Its test cases."""

    def apart(self) -> Iterable[TestCase]:
        """Those that were set apart: kept, not run."""

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Its mocks, one by one, each with its offset."""

    def mock_at(self, offset: int) -> Mock:
        """The mock at an offset."""
