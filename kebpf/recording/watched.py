"""One connection as the watcher knows it: what was decided, what was not yet, how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from kebpf.capture.events import Direction, SocketRole
from kebpf.protocols.base import Detection, Pairer, ProtocolSpec, Sender
from kebpf.protocols.registry import load_protocols
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.stream import Piece
from kebpf.recording.model import Endpoint, Role, Tls
from kebpf.recording.tlslane import TlsLane
from kebpf.recording.unread import Unparsed

_DATAGRAM_PROTOCOLS = ("dns", "opaque")
_JVM_SOCKET = ".java_pid"  # by which tools speak with it

#: Why nothing is parsed, where that leaves no call unknown, or it is told otherwise.
GIVEN_UP = "given up"
INTERNAL = "internal"
REPORTS = "an agent's reports"


#: Gives the database for the client's end and the server's, host and port; ``None``: not known.
FindDatabase = Callable[[tuple[str, int], tuple[str, int]], str | None]


class Unseen(Protocol):
    """Is told what will never be seen; times are nanoseconds since the Unix epoch.

    `kebpf.recording.builder.RecordingBuilder` is one.
    """

    def give_up_connection(self, connection: int, role: Role, start_ns: int, pid: int) -> None: ...

    def close_connection(self, connection: int, end_ns: int) -> None: ...

    def lose_events(self, role: Role | None, start_ns: int, end_ns: int) -> None: ...

    def link_tasks(self, pid: int, task: int, parent: int) -> None: ...

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None: ...


class Ends(NamedTuple):
    """What all exchanges of a connection have in common."""

    role: Role
    number: int
    local: Endpoint
    remote: Endpoint
    pid: int


@dataclass(slots=True)
class Watch:
    """What is known of one connection so far.

    ``is_joined`` says that its start was not seen: it was before the recording, or was lost.
    """

    connection: Connection
    is_joined: bool
    pairer: Pairer | None = None
    is_given_up: str = ""  # why nothing more is parsed
    undecided: list[tuple[Sender, Piece]] = field(default_factory=list)
    heads: dict[Sender, bytes] = field(default_factory=lambda: dict.fromkeys(Sender, b""))
    attempts: int = 0
    is_after_server: bool = True
    senders: tuple[Sender, ...] = ()  # of both directions, once it is known what is spoken
    ends: Ends | None = None
    unseen_ns: int = 0  # when the first answer came to a request that was not seen
    lane: TlsLane | None = None  # once it is encrypted
    may_upgrade: bool = False  # TLS may begin in its middle
    alpn: str = ""
    unparsed: Unparsed = field(default_factory=Unparsed)
    is_unread: bool = False  # it is encrypted, and its plaintext will not come

    @property
    def is_unused(self) -> bool:
        """Whether it is encrypted and nothing was said on it but greetings."""
        return self.lane is not None and not self.lane.has_plaintext and not self.lane.was_used

    @property
    def has_unknown_calls(self) -> bool:
        """Whether what the target asks on it, unparsed, may be calls that nothing else tells of."""
        is_told = self.is_unread or self.is_given_up in (GIVEN_UP, INTERNAL, REPORTS)
        return self.connection.role == SocketRole.CLIENT and not is_told

    def forget_undecided(self) -> None:
        """What of it is not known to be any protocol's is looked at no more."""
        self.undecided = []
        self.heads = dict.fromkeys(Sender, b"")

    @property
    def stays_secret(self) -> bool:
        """Whether, at its end, what went over it encrypted is not known, or not from its start."""
        lane = self.lane
        if lane is None or (self.is_given_up and not self.is_unread):
            return False
        is_joined = self.pairer is None and self.is_joined and bool(lane.turns)
        return (not lane.has_plaintext and lane.was_used) or is_joined


def tls_of(watch: Watch) -> Tls | None:
    """How what is exchanged now is encrypted.  TLS 1.3 says in secret what was chosen (ALPN)."""
    lane = watch.lane
    if lane is None or not lane.has_plaintext:
        return None
    facts = lane.facts
    if facts.alpn or len(lane.offers) == 0:
        return facts
    offered = [one for one in lane.offers if one != "h2"]
    return replace(facts, alpn=watch.alpn or offered[0] if offered else watch.alpn)


def role_of(connection: Connection) -> Role:
    return Role.SERVER if connection.role == SocketRole.SERVER else Role.CLIENT


def sender_of(connection: Connection, direction: Direction) -> Sender:
    is_client = connection.role != SocketRole.SERVER
    is_ours = direction == Direction.EGRESS
    return Sender.CLIENT if is_client == is_ours else Sender.SERVER


def is_internal(connection: Connection) -> bool:
    """No service is behind it.

    A pair of Unix sockets without names is an event loop's own alarm; and by ``.java_pid…`` tools
    speak with a JVM, kebpf among them.
    """
    opened = connection.opened
    if not connection.transport.startswith("unix"):
        return False
    is_jvm_socket = opened.local.rpartition("/")[2].startswith(_JVM_SOCKET)
    return is_jvm_socket or not (opened.local or opened.remote)


def candidates_for(connection: Connection) -> list[ProtocolSpec]:
    protocols = load_protocols()
    if connection.transport in ("udp", "unix-datagram"):
        return [protocols[name] for name in _DATAGRAM_PROTOCOLS]
    return list(protocols.values())


def find_spoken(watch: Watch) -> ProtocolSpec | None:
    """The first protocol that says yes after all before it said no."""
    client, server = watch.heads[Sender.CLIENT], watch.heads[Sender.SERVER]
    for spec in candidates_for(watch.connection):
        verdict = spec.detect(client, server)
        if verdict is Detection.YES:
            return spec
        if verdict is Detection.NEED_MORE:
            return None
    return None


def find_joinable(watch: Watch) -> list[ProtocolSpec]:
    return [spec for spec in candidates_for(watch.connection) if spec.name != "opaque"]


def find_ends(connection: Connection) -> Ends:
    opened = connection.opened
    return Ends(
        role_of(connection),
        connection.number,
        endpoint_of(connection, opened.local, opened.local_port),
        endpoint_of(connection, opened.remote, opened.remote_port),
        connection.pid,
    )


def endpoint_of(connection: Connection, host: str, port: int) -> Endpoint:
    return Endpoint(connection.transport, host, port)
