"""Finds each connection's protocol and turns its pieces into exchanges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from kebpf.capture.events import Direction, SocketRole
from kebpf.protocols.base import (
    Detection,
    Exchange,
    HoldingPairer,
    LearningPairer,
    LeavingPairer,
    Mark,
    Pairer,
    PlacedPairer,
    ProtocolSpec,
    Sender,
    ServingPairer,
)
from kebpf.protocols.registry import load_protocols
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.stream import Piece
from kebpf.recording.builder import BEGAN_BEFORE, OpenRequest
from kebpf.recording.casemaker import HTTP
from kebpf.recording.model import Endpoint, RecordedExchange, Role
from kebpf.recording.served import Served, ServedConnection

#: Bytes of both directions looked at before a connection is held to be no known protocol.
MOST_HEAD_SIZE = 64 << 10
#: How often a connection joined mid-stream may fail to be at a message's start.
MOST_RESYNC_ATTEMPTS = 64

#: How long settling waits for exchanges that a pairer keeps back.
LONGEST_HOLD_NS = 10_000_000_000

#: How long a response goes on to be taken for a request under way whose start was not seen.
LONGEST_UNSEEN_NS = 10_000_000_000

_TLS_HANDSHAKE = b"\x16\x03"
_TLS_DATA = b"\x17\x03\x03"
_CLIENT_ROLE = SocketRole.CLIENT
_NO_START = "joined in the middle, no message start seen"
GIVEN_UP = "given up"
INTERNAL = "internal"
_DATAGRAM_PROTOCOLS = ("dns", "opaque")


class _Ends(NamedTuple):
    """What all exchanges of a connection have in common."""

    role: Role
    number: int
    local: Endpoint
    remote: Endpoint
    pid: int


@dataclass(slots=True)
class _Watch:
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
    ends: _Ends | None = None
    unseen_ns: int = 0  # when the first answer came to a request that was not seen


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


class Watcher:
    """The tracker's consumer; gives each exchange to ``sink`` as it completes.

    ``unparsed`` counts by reason the connections that could not be followed to their end.
    """

    def __init__(
        self,
        sink: Callable[[RecordedExchange], None],
        clock_offset_ns: int,
        unseen: Unseen | None = None,
        find_database: FindDatabase | None = None,
    ) -> None:
        self._sink = sink
        self._clock_offset_ns = clock_offset_ns
        self._unseen = unseen
        self._find_database = find_database
        self._lore: dict[tuple[str, str], Any] = {}  # by protocol and server
        self._watches: dict[int, _Watch] = {}
        self.unparsed: Counter[str] = Counter()
        self._makes_calls = False  # has the target begun any?
        self._served: dict[str, Served] = {}  # by protocol: what was counted and not parsed
        #: bytes by process (id, name) and why they were not copied
        self.missing_payload: Counter[tuple[int, str, str]] = Counter()

    def open_connection(self, connection: Connection) -> None:
        watch = _Watch(connection, connection.is_joined)
        self._watches[connection.number] = watch
        if _is_internal(connection):
            watch.is_given_up = INTERNAL
        elif connection.role is _CLIENT_ROLE:
            self._note_calls()

    def take_piece(self, connection: Connection, direction: Direction, piece: Piece) -> None:
        watch = self._watches[connection.number]
        if watch.is_given_up:
            return
        if watch.pairer is not None:
            self._feed(watch, watch.pairer, watch.senders[direction], piece)
            return
        if connection.role is _CLIENT_ROLE:  # some are known by their first piece only
            self._note_calls()
        sender = _sender(connection, direction)
        if watch.is_joined or piece.data is None:
            self._try_to_join(watch, sender, piece)
        else:
            self._detect(watch, sender, piece.data, piece)

    def _note_calls(self) -> None:
        """The target makes calls: what it serves may be their cause, and must be known for that."""
        if not self._makes_calls:
            self._makes_calls = True
            for watch in self._watches.values():
                if isinstance(watch.pairer, ServedConnection):
                    watch.pairer.wake()

    def end_stream(self, connection: Connection, direction: Direction, time_ns: int) -> None:
        watch = self._watches[connection.number]
        if watch.pairer is not None and not watch.is_given_up:
            mark = Mark(time_ns + self._clock_offset_ns)
            sender = _sender(connection, direction)
            self._emit(watch, watch.pairer.receive_eof(sender, mark))

    def close_connection(self, connection: Connection, time_ns: int) -> None:
        watch = self._watches.pop(connection.number)
        for cause, size in connection.missing_payload.items():
            self.missing_payload[connection.pid, connection.opened.process, cause] += size
        if watch.pairer is None and not watch.is_given_up:
            self._decide_without_more(watch)
        if watch.pairer is not None and not watch.is_given_up:
            mark = Mark(time_ns + self._clock_offset_ns)
            if connection.is_gone and isinstance(watch.pairer, LeavingPairer):
                watch.pairer.leave()
            self._emit(watch, watch.pairer.finish(mark))
        if self._unseen is not None:
            self._unseen.close_connection(connection.number, time_ns + self._clock_offset_ns)

    def give_up_connection(self, connection: Connection, time_ns: int) -> None:
        """What is under way on it stays unfinished; what comes later is not seen."""
        watch = self._watches[connection.number]
        if watch.is_given_up == INTERNAL:
            return
        start_ns = time_ns + self._clock_offset_ns
        if watch.pairer is not None and not watch.is_given_up:
            self._emit(watch, watch.pairer.finish(Mark(start_ns)))
        watch.is_given_up, watch.pairer = GIVEN_UP, None
        self._forget_undecided(watch)
        if self._unseen is not None:
            role, pid = _role_of(connection), connection.pid
            self._unseen.give_up_connection(connection.number, role, start_ns, pid)

    def lose_events(self, connection: Connection | None, since_ns: int, time_ns: int) -> None:
        """A connection's gaps are found in its streams; when it was is said here."""
        role = None if connection is None else _role_of(connection)
        if self._unseen is not None and not (connection and _is_internal(connection)):
            offset_ns = self._clock_offset_ns
            self._unseen.lose_events(role, since_ns + offset_ns, time_ns + offset_ns)

    def link_tasks(self, pid: int, task: int, parent: int) -> None:
        if self._unseen is not None:
            offset_ns = self._clock_offset_ns
            self._unseen.link_tasks(pid, task + offset_ns, parent + offset_ns)

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None:
        if self._unseen is not None:
            self._unseen.note_thread(tid, maker, time_ns + self._clock_offset_ns)

    def count_served(self) -> dict[str, tuple[int, int]]:
        """By protocol: the connections that were counted and not parsed, and their bytes."""
        return {name: (one.connections, one.size) for name, one in self._served.items()}

    def open_requests(self) -> list[OpenRequest]:
        """The inbound requests that are under way."""
        found: list[OpenRequest] = []
        for watch in self._watches.values():
            since = watch.pairer.open_since if isinstance(watch.pairer, ServingPairer) else None
            if since is not None and watch.connection.role == SocketRole.SERVER:
                number, pid = watch.connection.number, watch.connection.pid
                found.append(OpenRequest(since.time_ns, number, since.tid, pid))
        return found

    def settle(self, now_ns: int) -> int:
        """Takes what silence until then made certain; gives the time all is known up to.

        What a pairer keeps back has ended but was not given yet, so it bounds that time, for
        `LONGEST_HOLD_NS` at most.  Times are nanoseconds since the Unix epoch.
        """
        known_ns = now_ns
        for watch in self._watches.values():
            if isinstance(watch.pairer, HoldingPairer) and not watch.is_given_up:
                self._emit(watch, watch.pairer.release_idle(Mark(now_ns)))
                since = watch.pairer.held_since
                known_ns = known_ns if since is None else min(known_ns, since.time_ns)
        return max(known_ns, now_ns - LONGEST_HOLD_NS)

    def _detect(self, watch: _Watch, sender: Sender, data: bytes, piece: Piece) -> None:
        watch.undecided.append((sender, piece))
        watch.heads[sender] += data
        head = watch.heads[Sender.CLIENT]
        if head.startswith(_TLS_HANDSHAKE):
            self._give_up(watch, "encrypted (TLS)")
            return
        spec = None if head and _TLS_HANDSHAKE.startswith(head) else self._ask(watch)
        if spec is None and sum(map(len, watch.heads.values())) > MOST_HEAD_SIZE:
            spec = load_protocols()["opaque"]
        if spec is not None:
            self._begin(watch, spec)

    def _ask(self, watch: _Watch) -> ProtocolSpec | None:
        """The first protocol that says yes after all before it said no."""
        client, server = watch.heads[Sender.CLIENT], watch.heads[Sender.SERVER]
        for spec in _candidates(watch.connection):
            verdict = spec.detect(client, server)
            if verdict is Detection.YES:
                return spec
            if verdict is Detection.NEED_MORE:
                return None
        return None

    def _decide_without_more(self, watch: _Watch) -> None:
        if not watch.is_joined:
            self._begin(watch, load_protocols()["opaque"])
        elif watch.connection.captured_size or watch.connection.gap_size:
            self._give_up(watch, _NO_START)

    def _begin(self, watch: _Watch, spec: ProtocolSpec) -> None:
        watch.pairer = self._make_pairer(watch, spec)
        watch.senders = tuple(_sender(watch.connection, each) for each in Direction)
        pieces = watch.undecided
        self._forget_undecided(watch)
        for sender, piece in pieces:
            if not watch.is_given_up:
                self._feed(watch, watch.pairer, sender, piece)

    def _make_pairer(self, watch: _Watch, spec: ProtocolSpec) -> Pairer:
        is_served = watch.connection.role == SocketRole.SERVER
        if is_served and spec.name != HTTP and not self._makes_calls:
            return ServedConnection(spec.name, self._served.setdefault(spec.name, Served()))
        pairer = spec.make_pairer(joined=watch.is_joined)
        if watch.is_joined and isinstance(pairer, PlacedPairer):
            self._place(watch.connection, pairer)
        if isinstance(pairer, LearningPairer):
            opened = watch.connection.opened
            key = (spec.name, str(_endpoint(watch.connection, opened.remote, opened.remote_port)))
            if key not in self._lore:
                self._lore[key] = pairer.make_lore()
            pairer.learn_from(self._lore[key])
        return pairer

    def _place(self, connection: Connection, pairer: PlacedPairer) -> None:
        """Its start-up said for which database it is; now only the server knows."""
        opened, find = connection.opened, self._find_database
        if find is None or connection.transport != "tcp" or connection.role is not _CLIENT_ROLE:
            return
        ends = (opened.local, opened.local_port), (opened.remote, opened.remote_port)
        pairer.place(find(*ends))

    def _try_to_join(self, watch: _Watch, sender: Sender, piece: Piece) -> None:
        """A request is looked for where the client speaks after the server did."""
        watch.is_joined = True
        if sender is Sender.SERVER or piece.data is None:
            watch.is_after_server = piece.data is not None
            self._forget_undecided(watch)
            if sender is Sender.SERVER:
                self._note_unseen(watch, piece)
            return
        if not watch.is_after_server and not watch.undecided:
            return
        watch.undecided.append((sender, piece))
        watch.heads[Sender.CLIENT] += piece.data
        head = watch.heads[Sender.CLIENT]
        if head.startswith((_TLS_HANDSHAKE, _TLS_DATA)):
            self._give_up(watch, "encrypted (TLS)")
            return
        verdicts = {spec: spec.resynchronise(head, b"") for spec in _find_joinable(watch)}
        for spec, verdict in verdicts.items():
            if verdict is Detection.YES:
                self._begin(watch, spec)
                return
        if len(head) > MOST_HEAD_SIZE or Detection.NEED_MORE not in verdicts.values():
            self._miss_boundary(watch)

    def _note_unseen(self, watch: _Watch, piece: Piece) -> None:
        """The target answers what was asked before: a request that may have made calls.

        A stream that never ends (server-sent events, a WebSocket) is believed for a while only.
        """
        watch.unseen_ns = watch.unseen_ns or piece.time_ns
        is_served = watch.connection.role == SocketRole.SERVER
        if is_served and piece.time_ns - watch.unseen_ns <= LONGEST_UNSEEN_NS:
            end = Mark(piece.time_ns + self._clock_offset_ns, piece.tid, piece.offset)
            start = Mark(0)
            unseen = Exchange(
                "http", {}, None, start, start, response_end=end, problem=BEGAN_BEFORE
            )
            self._emit(watch, [unseen])

    def _miss_boundary(self, watch: _Watch) -> None:
        watch.attempts += 1
        watch.is_after_server = False
        self._forget_undecided(watch)
        if watch.attempts >= MOST_RESYNC_ATTEMPTS:
            self._give_up(watch, _NO_START)

    def _forget_undecided(self, watch: _Watch) -> None:
        watch.undecided = []
        watch.heads = dict.fromkeys(Sender, b"")

    def _feed(self, watch: _Watch, pairer: Pairer, sender: Sender, piece: Piece) -> None:
        clock_ns, task = self._clock_offset_ns, piece.task
        mark = Mark(
            piece.time_ns + clock_ns, piece.tid, piece.offset, task + clock_ns if task else 0
        )
        if piece.data is None:
            exchanges = pairer.receive_gap(sender, piece.size, mark)
        else:
            exchanges = pairer.receive_data(sender, piece.data, mark)
        if exchanges:
            self._emit(watch, exchanges)
        if pairer.broken is not None:
            self._give_up(watch, pairer.broken)

    def _give_up(self, watch: _Watch, reason: str) -> None:
        if not watch.is_given_up:
            self.unparsed[reason] += 1
        watch.is_given_up = reason
        self._forget_undecided(watch)

    def _emit(self, watch: _Watch, exchanges: Iterable[Exchange]) -> None:
        ends = watch.ends
        if ends is None:
            ends = watch.ends = _find_ends(watch.connection)
        for exchange in exchanges:
            self._sink(RecordedExchange(exchange, *ends))


def _role_of(connection: Connection) -> Role:
    return Role.SERVER if connection.role == SocketRole.SERVER else Role.CLIENT


def _sender(connection: Connection, direction: Direction) -> Sender:
    is_client = connection.role != SocketRole.SERVER
    is_ours = direction == Direction.EGRESS
    return Sender.CLIENT if is_client == is_ours else Sender.SERVER


def _is_internal(connection: Connection) -> bool:
    """A pair of Unix sockets without names (an event loop's own alarm): no service behind it."""
    opened = connection.opened
    return connection.transport.startswith("unix") and not (opened.local or opened.remote)


def _candidates(connection: Connection) -> list[ProtocolSpec]:
    protocols = load_protocols()
    if connection.transport in ("udp", "unix-datagram"):
        return [protocols[name] for name in _DATAGRAM_PROTOCOLS]
    return list(protocols.values())


def _find_joinable(watch: _Watch) -> list[ProtocolSpec]:
    return [spec for spec in _candidates(watch.connection) if spec.name != "opaque"]


def _find_ends(connection: Connection) -> _Ends:
    opened = connection.opened
    return _Ends(
        _role_of(connection),
        connection.number,
        _endpoint(connection, opened.local, opened.local_port),
        _endpoint(connection, opened.remote, opened.remote_port),
        connection.pid,
    )


def _endpoint(connection: Connection, host: str, port: int) -> Endpoint:
    return Endpoint(connection.transport, host, port)
