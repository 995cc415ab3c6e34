"""The things a recording holds: connections' ends, recorded exchanges, test cases and mocks."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document, Exchange

FORMAT_VERSION = 1


class Role(enum.Enum):
    """The target's part on a connection."""

    CLIENT = "client"
    SERVER = "server"


LOCAL_TRANSPORTS = ("unix", "unix-datagram")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection; ``transport``: ``tcp``, ``udp``, ``unix`` or ``unix-datagram``.

    ``host`` is a numeric address (v4-mapped ones written as IPv4) or a Unix socket's path, which
    begins with ``@`` if it is abstract.
    """

    transport: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        if self.is_local:
            return f"{self.transport}:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.transport == "tcp" else f"{host}:{self.port}/udp"

    @property
    def is_local(self) -> bool:
        """Whether it is a Unix socket."""
        return self.transport in LOCAL_TRANSPORTS

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """The reverse of ``str()``.  Raises ``ValueError``."""
        name, _, rest = text.partition(":")
        if name in LOCAL_TRANSPORTS:
            return cls(name, rest)
        transport = "udp" if text.endswith("/udp") else "tcp"
        host, _, port = text.removesuffix("/udp").rpartition(":")
        return cls(transport, host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection was encrypted: what its handshake chose, each empty where none was seen.

    ``sni`` is the host's name that the client asked for (RFC 6066, 3), ``alpn`` the protocol that
    the server chose (RFC 7301), ``version`` such as ``TLSv1.3``.
    """

    sni: str = ""
    alpn: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """An exchange with the connection it was seen on: what recording takes from the capture.

    ``local`` is the target's end, ``remote`` the other.  ``connection`` numbers the connections
    of one recording from 1.  ``tls`` is there if the exchange was encrypted on its way.
    """

    exchange: Exchange
    role: Role
    connection: int
    local: Endpoint
    remote: Endpoint
    pid: int = 0
    tls: Tls | None = None


class Tier(enum.Enum):
    """To what part of a run a mock belongs."""

    CASE = "case"
    STARTUP = "startup"
    BACKGROUND = "background"
    SESSION = "session"


class Evidence(enum.Enum):
    """Why a call is held to have been caused by a request, strongest first."""

    TASK = "task"
    THREAD = "thread"
    CHECKOUT = "checkout"
    LINEAGE = "lineage"
    TIME = "time"
    NONE = "none"


@dataclass(slots=True)
class Timing:
    """Nanoseconds since the Unix epoch."""

    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Mock:
    """A recorded outbound exchange to answer with.

    ``case`` is the test case that caused it; ``candidates`` are the cases among which the
    evidence could not decide (then ``case`` is ``None`` and the call is asserted once over all
    of them; in the background tier over none, for a request that was left out may have made it).
    ``generated`` maps JSON-pointer paths into ``identity(request)`` to the class of
    the value there (``uuid4``, ``time:<format>``, ``hex:32`` …); all other values are exact.
    ``tasks`` are when, in Unix nanoseconds, the asyncio task was made that sent it, as the last,
    and each above it that was made on the case's account; none if that is not known.
    ``is_by_reader``: the thread that read the case's request sent it, and the process is not one
    whose work changes threads.  ``tls`` is there if it was encrypted on its way.
    """

    name: str
    protocol: str
    destination: Endpoint
    request: Document
    response: Document | None
    timing: Timing
    tier: Tier
    connection: int
    case: str | None = None
    candidates: list[str] = field(default_factory=list)
    evidence: Evidence = Evidence.NONE
    generated: dict[str, str] = field(default_factory=dict)
    calls: int = 1
    is_by_reader: bool = False
    tasks: list[int] = field(default_factory=list)
    tls: Tls | None = None


@dataclass(slots=True)
class Strength:
    """How many scalars of a case are compared, and how."""

    exact: int = 0
    by_class: int = 0
    not_compared: int = 0


@dataclass(slots=True)
class TestCase:
    """A recorded inbound exchange to send again.

    ``generated`` is as in `Mock`, with paths into ``view(response)``; ``calls`` names its mocks
    in the order they were made; ``order`` is its place in the recording, from 1.  ``verified``
    says which classes verification found, and how; ``set_apart`` why the case is not run.
    ``is_kept_open``: another request came on the same connection afterwards and was answered.
    ``tls`` is there if the request came encrypted.  ``seen`` requests of its ``shape`` there were,
    where only some of them are kept.  ``needs`` are cases that have to run before it, in the same
    instance: only they can give it a credential that redaction replaced and that was signed.
    """

    __test__ = False

    name: str
    protocol: str
    request: Document
    response: Document
    endpoint: Endpoint
    timing: Timing
    order: int
    calls: list[str] = field(default_factory=list)
    generated: dict[str, str] = field(default_factory=dict)
    strength: Strength = field(default_factory=Strength)
    verified: list[dict[str, Any]] = field(default_factory=list)
    set_apart: str | None = None
    is_kept_open: bool = False
    tls: Tls | None = None
    seen: int = 0
    shape: str = ""
    needs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Losses:
    """What a recording did not get, all zero in a good one."""

    lost_events: int = 0
    lost_bytes: int = 0
    unparsed_connections: int = 0
    given_up_connections: int = 0
    given_up_bytes: int = 0
    unbalanced_connections: int = 0  # whose bytes do not add up
    left_out: dict[str, int] = field(default_factory=dict)  # reason → exchanges kept out


@dataclass(slots=True)
class Manifest:
    """The head of a test set."""

    name: str
    created_ns: int
    kebpf_version: str
    kernel: str
    command: list[str]
    executable: str
    ports: list[int]  # where the target listened, in the order it was seen
    target: str = ""  # what was recorded, as a person would say it
    filters: list[str] = field(default_factory=list)  # the options that left connections out
    test_cases: int = 0
    mocks: int = 0
    events: int = 0
    captured_bytes: int = 0
    seconds: float = 0.0
    losses: Losses = field(default_factory=Losses)
    set_apart: dict[str, str] = field(default_factory=dict)  # case that is not run → why
    verified: dict[str, Any] = field(default_factory=dict)  # what the last verification did
    version: int = FORMAT_VERSION
    extra: dict[str, Any] = field(default_factory=dict)
