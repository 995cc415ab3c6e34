"""What every protocol gives the other stages: detection, pairing, serving, identity.

Everything here is sans-IO: bytes and plain values in, plain values out.  A *document* is a tree
of ``dict``, ``list``, ``str``, ``bytes``, ``int``, ``float``, ``bool`` and ``None``, which is what
the store writes, the matcher compares and the provenance walks; no protocol hides state in
objects that another stage would have to know.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

Document = dict[str, Any]


class ProtocolError(Exception):
    """The bytes do not follow the protocol; the text says what was wrong, without the bytes."""


class Sender(enum.Enum):
    """Which end of a connection sent some bytes."""

    CLIENT = "client"
    SERVER = "server"

    __hash__ = object.__hash__  # an Enum's own is slow, and this is looked up for every piece


class Detection(enum.Enum):
    """What a protocol says of the head of a stream."""

    YES = "yes"
    NO = "no"
    NEED_MORE = "need more"


class Mark(NamedTuple):
    """Where and when a piece of a stream was seen.

    ``time_ns`` is nanoseconds since the Unix epoch, ``tid`` the thread that moved the bytes,
    ``offset`` the position of the piece's first byte in its stream.  ``task`` is the asyncio task
    that sent the bytes, by the time at which it was made (as ``time_ns``); 0 where none is known.
    """

    time_ns: int
    tid: int = 0
    offset: int = 0
    task: int = 0


@dataclass(slots=True)
class Exchange:
    """A request with its whole response, as one protocol saw it on one connection.

    ``is_session`` marks what a responder answers from session state (authentication, PING,
    BEGIN …) and what is therefore never asserted.  ``transaction`` is equal for exchanges of the
    same database transaction on this connection.  ``problem`` says in a few words why the
    exchange cannot be replayed (bytes lost, unknown statement name, cut off), or is ``None``.
    ``calls`` is the number of calls the server's own statistics count for it.
    """

    protocol: str
    request: Document
    response: Document | None
    request_start: Mark
    request_end: Mark
    response_start: Mark | None = None
    response_end: Mark | None = None
    is_session: bool = False
    transaction: int | None = None
    problem: str | None = None
    calls: int = 1


class Pairer(Protocol):
    """Watches both directions of one connection and gives the exchanges as they complete.

    It never raises for what the peers sent: bytes that are not the protocol's end as exchanges
    with a ``problem``, after which it resynchronises if it can.  ``broken`` says why it could
    not, or is ``None``.  Buffers have named caps.
    """

    broken: str | None

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes the next bytes of one direction; gives what they completed."""

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Takes ``size`` bytes (0: an unknown number) known to be missing in one direction."""

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction."""

    def finish(self, mark: Mark) -> list[Exchange]:
        """The recording or the connection ended: gives what is unfinished, with its problem."""


@runtime_checkable
class ServingPairer(Protocol):
    """A pairer that tells where the oldest request began which is under way."""

    @property
    def open_since(self) -> Mark | None:
        """``None`` when no request is under way."""


@runtime_checkable
class HoldingPairer(Protocol):
    """A pairer that keeps complete exchanges back until it is certain of them."""

    @property
    def held_since(self) -> Mark | None:
        """Where the oldest exchange began that is kept back, if any is."""

    def release_idle(self, mark: Mark) -> list[Exchange]:
        """Time went on: gives what silence until ``mark`` makes certain."""


@runtime_checkable
class PlacedPairer(Protocol):
    """A pairer whose calls are made in a place that a connection's start-up tells."""

    def place(self, database: str | None) -> None:
        """Says it for a connection that was open before; ``None``: it is not known."""


@runtime_checkable
class LeavingPairer(Protocol):
    """A pairer that tells what was lost from what the client did not care to read."""

    def leave(self) -> None:
        """The connection is no more; comes before `Pairer.finish`, after any end of a sender."""


@runtime_checkable
class UpgradingPairer(Protocol):
    """A pairer of a protocol that goes on encrypted when both sides have said so."""

    @property
    def awaits_tls(self) -> bool:
        """Whether the client's next bytes may begin TLS; what comes then goes on in its plaintext.

        A client that begins none goes on as it is.
        """


@runtime_checkable
class TunnellingPairer(Protocol):
    """A pairer of a protocol that can lead to another server, with whom anything is spoken."""

    @property
    def is_tunnel(self) -> bool:
        """Whether what comes next is no more of this protocol, but begins another's connection."""


@runtime_checkable
class LearningPairer(Protocol):
    """A pairer that tells those of other connections to the same server what it learned."""

    def make_lore(self) -> Any:
        """What they share, empty."""

    def learn_from(self, lore: Any) -> None:
        """Shares it from now on; to be called before any bytes."""


@dataclass(frozen=True, slots=True)
class Miss:
    """No recorded answer; ``reason`` is one line for the protocol's own error message."""

    reason: str


class Answerer(Protocol):
    """Where a server session finds its answers (the matcher, or a test's dictionary)."""

    def answer(self, request: Document) -> Document | Miss:
        """The recorded response to a call."""

    def session(self, request: Document) -> Document | None:
        """Told of a session call; its recorded response if there is one, else ``None``."""

    def peek(self, request: Document) -> bool:
        """Whether a call could be answered with exactly what was recorded; changes nothing."""


@runtime_checkable
class KeepingAnswerer(Protocol):
    """An answerer that keeps requests, so that equal bytes need not be read twice."""

    def find_request(self, source: Hashable) -> Document | None:
        """The request that was read from ``source``: to be answered, never to be changed."""

    def keep_request(self, source: Hashable, request: Document) -> None:
        """``request`` was read from ``source``, which always means just that."""


@runtime_checkable
class PatientAnswerer(Protocol):
    """An answerer that knows of calls whose answer waits for something to happen."""

    def is_due(self, request: Document) -> bool:
        """Whether the answer to a call that waits can be given now; changes nothing."""


class ServerSession(Protocol):
    """Is the server of one connection: bytes in, bytes out, answers from an `Answerer`."""

    is_closed: bool

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the client sent and gives what to send back (maybe nothing yet)."""

    def receive_eof(self) -> bytes:
        """The client closed its direction."""


@runtime_checkable
class TellingSession(Protocol):
    """A server session through which its client can reach the server's other clients."""

    def take_news(self) -> Sequence[Document]:
        """What its client published since the last call."""

    def hear(self, news: Document) -> bytes:
        """Another client published ``news``: what to send to this one now (maybe nothing)."""


@runtime_checkable
class WaitingSession(Protocol):
    """A server session that may keep its client waiting, as the server would."""

    waits_s: float | None  # how long the command now waiting does at most (0: for ever)

    def resume(self) -> bytes:
        """Something happened on another connection: what can be answered by now (maybe nothing)."""

    def expire(self) -> bytes:
        """The time of the command now waiting is over: the answer to that, and what comes then."""


@runtime_checkable
class EncryptableSession(Protocol):
    """A server session whose client may ask it for TLS on the connection it has."""

    offers_tls: bool  # whether that is granted; to be set before any bytes


@runtime_checkable
class AuthenticatingSession(Protocol):
    """A server session whose client may insist on being asked for its password."""

    login: Any  # what is known of it, in the protocol's own terms; to be set before any bytes


@runtime_checkable
class GivingWaySession(Protocol):
    """A server session behind which something else may begin on the connection: TLS, a tunnel."""

    gives_way: bool  # what comes next begins anew


@runtime_checkable
class CandidSession(Protocol):
    """A server session that tells what it could not answer though nobody was asked."""

    def take_problems(self) -> Sequence[str]:
        """A sentence for each since the last call; its client got an error."""


class ProtocolSpec(Protocol):
    """One protocol, as the registry hands it to the other stages."""

    name: str

    def detect(self, client: bytes, server: bytes) -> Detection:
        """Judges the first bytes of both directions of a connection seen from its start."""

    def make_pairer(self, joined: bool = False) -> Pairer:
        """A pairer; ``joined`` when the connection was open before anything was seen."""

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Judges bytes from the middle of a connection (does a message start at byte 0?)."""

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> ServerSession:
        """A server session; ``facts`` are the recorded session exchanges of the destination,

        each ``{"request": …, "response": …}``, from which greetings and parameters are taken.
        """

    def identity(self, request: Document) -> Document:
        """The parts in which two calls must agree to be the same call.

        Always holds ``operation`` (a short string: the SQL text, the command name, the method
        and path), by which near misses are looked for.
        """

    def describe(self, request: Document) -> str:
        """The call in one line for people, at most some 100 characters."""

    def view(self, message: Document) -> Any:
        """A request or response decoded as far as it goes (JSON bodies parsed …).

        What people read, what is compared path by path, and where provenance looks for values.
        """

    def write_request(self, request: Document) -> bytes:
        """The request as bytes on the wire."""

    def write_response(self, response: Document) -> bytes:
        """The response as bytes on the wire."""
