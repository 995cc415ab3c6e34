"""Finds each connection's protocol and turns its pieces into exchanges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from kebpf.capture.events import Direction, SocketRole
from kebpf.capture.tlsevents import Mark as RecordMark
from kebpf.capture.tlsevents import Plain, SessionEnd, SessionEvent
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
    TunnellingPairer,
)
from kebpf.protocols.registry import load_protocols
from kebpf.protocols.tls.hello import begins_client_hello
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.javachannels import JavaChannels
from kebpf.reassembly.javareports import ReportError
from kebpf.reassembly.stream import Piece
from kebpf.recording.builder import BEGAN_BEFORE, OpenRequest
from kebpf.recording.casemaker import HTTP
from kebpf.recording.model import RecordedExchange
from kebpf.recording.served import Served, ServedConnection
from kebpf.recording.sessions import Sessions
from kebpf.recording.tlslane import TlsLane
from kebpf.recording.unread import NO_START, UnreadTls, make_unread
from kebpf.recording.watched import (
    GIVEN_UP,
    INTERNAL,
    REPORTS,
    FindDatabase,
    Unseen,
    Watch,
    endpoint_of,
    find_ends,
    find_joinable,
    find_spoken,
    is_internal,
    role_of,
    sender_of,
    tls_of,
)

#: Bytes of both directions looked at before a connection is held to be no known protocol.
MOST_HEAD_SIZE = 64 << 10
#: How often a connection joined mid-stream may fail to be at a message's start.
MOST_RESYNC_ATTEMPTS = 64

#: How long settling waits for exchanges that a pairer keeps back.
LONGEST_HOLD_NS = 10_000_000_000

#: How long a response goes on to be taken for a request under way whose start was not seen.
LONGEST_UNSEEN_NS = 10_000_000_000

#: How long the plaintext of an encrypted connection is waited for.
LONGEST_UNREAD_NS = 2_000_000_000

_TLS_HANDSHAKE = b"\x16\x03"
_TLS_DATA = b"\x17\x03\x03"
HTTP2 = "HTTP/2 (as opaque bytes)"
_H2_PREFACE = b"PRI * HTTP/2.0\r\n"
_CLIENT_ROLE = SocketRole.CLIENT
_DAMAGED = "a Java agent's report that could not be read"
_UPGRADING = ("postgres", "opaque")  # protocols in whose middle TLS may begin


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
        self._watches: dict[int, Watch] = {}
        self.unparsed: Counter[str] = Counter()
        self._makes_calls = False  # has the target begun any?
        self._served: dict[str, Served] = {}  # by protocol: what was counted and not parsed
        self._sessions = Sessions(self)
        self.unread = UnreadTls()
        self._java = JavaChannels()
        #: bytes by process (id, name) and why they were not copied
        self.missing_payload: Counter[tuple[int, str, str]] = Counter()

    def open_connection(self, connection: Connection) -> None:
        watch = Watch(connection, connection.is_joined)
        self._watches[connection.number] = watch
        self._java.open_connection(connection)
        if is_internal(connection):
            watch.is_given_up = INTERNAL
        elif connection.role is _CLIENT_ROLE:
            self._note_calls()

    def take_piece(self, connection: Connection, direction: Direction, piece: Piece) -> None:
        watch = self._watches[connection.number]
        if watch.lane is not None:
            sender = sender_of(connection, direction)
            if watch.lane.take_piece(sender, piece) and watch.is_given_up:
                self._note_unparsed(watch, sender, piece)
            return
        if watch.is_given_up == REPORTS:
            self._take_report(connection, piece)
            return
        if watch.is_given_up:
            self._note_unparsed(watch, sender_of(connection, direction), piece)
            return
        if watch.pairer is not None:
            if watch.may_upgrade and self._upgrade(watch, direction, piece):
                return
            self._feed(watch, watch.pairer, watch.senders[direction], piece)
            return
        self._take_undecided(watch, sender_of(connection, direction), piece)

    def _take_report(self, connection: Connection, piece: Piece) -> None:
        try:
            for event, found in self._java.take(connection, piece):
                self.take_session_event(event, found)
        except ReportError:
            self.unparsed[_DAMAGED] += 1

    def _take_undecided(self, watch: Watch, sender: Sender, piece: Piece) -> None:
        if self._java.begins(watch.connection, piece):
            watch.is_given_up = REPORTS
            self._take_report(watch.connection, piece)
            return
        if watch.connection.role is _CLIENT_ROLE:  # some are known by their first piece only
            self._note_calls()
        if watch.is_joined or piece.data is None:
            self._try_to_join(watch, sender, piece)
        else:
            self._detect(watch, sender, piece.data, piece)

    def _upgrade(self, watch: Watch, direction: Direction, piece: Piece) -> bool:
        """Whether TLS begins here, in the middle of a connection."""
        if watch.senders[direction] is not Sender.CLIENT or piece.data is None:
            return False
        if begins_client_hello(piece.data) is not True:
            return False
        self._encrypt(watch, [(Sender.CLIENT, piece)], piece.time_ns)
        return True

    def _encrypt(self, watch: Watch, pieces: list[tuple[Sender, Piece]], hello_ns: int = 0) -> None:
        """From ``pieces`` on what goes over the wire is TLS, and its plaintext what counts."""
        number = watch.connection.number

        def note_mark(mark: bytes) -> None:
            self._sessions.take_record(number, mark)

        watch.lane = lane = TlsLane(note_mark, hello_ns)
        watch.may_upgrade = False
        watch.forget_undecided()
        for sender, piece in pieces:
            lane.take_piece(sender, piece)

    def take_session_event(self, event: SessionEvent, connection: Connection | None) -> None:
        """Of a TLS session: what its library was given and gave, and how it is found."""
        if isinstance(event, Plain):
            self._sessions.take_plain(event, connection.number if connection else None)
        elif isinstance(event, RecordMark):
            self._sessions.take_mark(event)
        elif isinstance(event, SessionEnd):
            self._sessions.take_end(event)
        else:
            self.unread.note_code(event)
            if event.is_read:
                self._sessions.note_code(event.head.pid, event.head.time_ns)

    def forget_process(self, pid: int) -> None:
        self._sessions.forget_process(pid)
        self.unread.forget_process(pid)
        self._java.forget_process(pid)

    def take_plain(self, connection: int, direction: Direction, piece: Piece, pid: int) -> None:
        """The next plaintext of an encrypted connection."""
        watch = self._watches.get(connection)
        if watch is None or watch.is_given_up:
            return
        if watch.lane is None:
            self._encrypt(watch, [])
        lane = watch.lane
        assert lane is not None
        if not lane.has_plaintext:
            since_ns = self._sessions.seen_since(pid)
            is_whole = bool(since_ns and lane.hello_ns > since_ns)
            lane.begin_plaintext(piece.time_ns, is_whole)
            if watch.pairer is None:
                watch.is_joined = not is_whole
            elif not is_whole:
                self._give_up(watch, "encrypted (TLS): its beginning was not seen")
                return
            else:
                lane.understand()
        sender = sender_of(watch.connection, direction)
        for missed in lane.find_missed(sender, piece.time_ns, piece.size):
            self._pass_plain(watch, missed, Piece(0, 0, piece.time_ns, piece.tid, None))
        self._pass_plain(watch, sender, piece)

    def _pass_plain(self, watch: Watch, sender: Sender, piece: Piece) -> None:
        if watch.is_given_up:
            return
        if watch.pairer is not None:
            self._feed(watch, watch.pairer, sender, piece)
        else:
            self._take_undecided(watch, sender, piece)

    def refuse_plain(self, connection: int, reason: str) -> None:
        watch = self._watches.get(connection)
        if watch is not None:
            self._give_up(watch, reason)

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
            sender = sender_of(connection, direction)
            self._emit(watch, watch.pairer.receive_eof(sender, mark))

    def close_connection(self, connection: Connection, time_ns: int) -> None:
        self._sessions.close_connection(connection.number)
        self._java.close_connection(connection)
        watch = self._watches.pop(connection.number)
        for cause, size in connection.missing_payload.items():
            self.missing_payload[connection.pid, connection.opened.process, cause] += size
        if watch.lane is not None and watch.stays_secret:
            self._give_up_unread(watch, watch.lane)
        elif watch.pairer is None and not watch.is_given_up and not watch.is_unused:
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
        watch.forget_undecided()
        if self._unseen is not None:
            role, pid = role_of(connection), connection.pid
            self._unseen.give_up_connection(connection.number, role, start_ns, pid)

    def lose_events(self, connection: Connection | None, since_ns: int, time_ns: int) -> None:
        """A connection's gaps are found in its streams; when it was is said here."""
        role = None if connection is None else role_of(connection)
        if self._unseen is not None and not (connection and is_internal(connection)):
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
            if watch.lane is not None:
                known_ns = min(known_ns, self._settle_unread(watch, watch.lane, now_ns))
            if isinstance(watch.pairer, HoldingPairer) and not watch.is_given_up:
                self._emit(watch, watch.pairer.release_idle(Mark(now_ns)))
                since = watch.pairer.held_since
                known_ns = known_ns if since is None else min(known_ns, since.time_ns)
        return max(known_ns, now_ns - LONGEST_HOLD_NS)

    def _settle_unread(self, watch: Watch, lane: TlsLane, now_ns: int) -> int:
        """What went over a connection in secret is known as far as that; told once it is certain.

        Its plaintext may come a little later than its bytes.
        """
        if lane.has_plaintext or not lane.turns:
            return now_ns
        start_ns = lane.turns[0].start_ns + self._clock_offset_ns
        if not watch.is_unread and (watch.is_given_up or now_ns - start_ns < LONGEST_UNREAD_NS):
            return now_ns if watch.is_given_up else start_ns
        self._give_up_unread(watch, lane, now_ns - self._clock_offset_ns)
        return lane.turns[0].start_ns + self._clock_offset_ns if lane.turns else now_ns

    def _give_up_unread(self, watch: Watch, lane: TlsLane, until_ns: int | None = None) -> None:
        """A call that could not be read keeps the case that made it out."""
        if not watch.is_unread:
            watch.is_unread = True
            self._give_up(watch, self.unread.explain(watch.connection, lane))
        turns = lane.take_turns(until_ns)
        for turn in turns if watch.connection.role is _CLIENT_ROLE else ():
            self._emit(watch, [make_unread(turn, self._clock_offset_ns)])

    def _detect(self, watch: Watch, sender: Sender, data: bytes, piece: Piece) -> None:
        watch.undecided.append((sender, piece))
        watch.heads[sender] += data
        head = watch.heads[Sender.CLIENT]
        if watch.lane is None and head.startswith(_TLS_HANDSHAKE):
            self._encrypt(watch, watch.undecided, watch.undecided[0][1].time_ns)
            return
        if watch.lane is not None and head.startswith(_H2_PREFACE):
            watch.alpn = "h2"
            self._begin(watch, load_protocols()["opaque"])
            return
        is_open = watch.lane is None and head and _TLS_HANDSHAKE.startswith(head)
        spec = None if is_open else find_spoken(watch)
        if spec is None and sum(map(len, watch.heads.values())) > MOST_HEAD_SIZE:
            spec = load_protocols()["opaque"]
        if spec is not None:
            self._begin(watch, spec)

    def _decide_without_more(self, watch: Watch) -> None:
        if not watch.is_joined:
            self._begin(watch, load_protocols()["opaque"])
        elif watch.connection.captured_size or watch.connection.gap_size:
            self._give_up(watch, NO_START)

    def _begin(self, watch: Watch, spec: ProtocolSpec) -> None:
        watch.pairer = self._make_pairer(watch, spec)
        if watch.lane is not None:
            watch.lane.understand()
        watch.may_upgrade = watch.lane is None and spec.name in _UPGRADING
        watch.senders = tuple(sender_of(watch.connection, each) for each in Direction)
        pieces = watch.undecided
        watch.forget_undecided()
        for sender, piece in pieces:
            if not watch.is_given_up:
                self._feed(watch, watch.pairer, sender, piece)

    def _make_pairer(self, watch: Watch, spec: ProtocolSpec) -> Pairer:
        is_served = watch.connection.role == SocketRole.SERVER
        if is_served and spec.name != HTTP and not self._makes_calls:
            name = HTTP2 if watch.alpn == "h2" else spec.name
            return ServedConnection(spec.name, self._served.setdefault(name, Served()))
        pairer = spec.make_pairer(joined=watch.is_joined)
        if watch.is_joined and isinstance(pairer, PlacedPairer):
            self._place(watch.connection, pairer)
        if isinstance(pairer, LearningPairer):
            opened = watch.connection.opened
            key = (spec.name, str(endpoint_of(watch.connection, opened.remote, opened.remote_port)))
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

    def _try_to_join(self, watch: Watch, sender: Sender, piece: Piece) -> None:
        """A request is looked for where the client speaks after the server did."""
        watch.is_joined = True
        if sender is Sender.SERVER or piece.data is None:
            watch.is_after_server = piece.data is not None
            self._leave_undecided(watch)
            self._note_unparsed(watch, sender, piece)
            self._note_unseen(watch, sender, piece)
            return
        if not watch.is_after_server and not watch.undecided:
            self._note_unparsed(watch, sender, piece)
            return
        watch.undecided.append((sender, piece))
        watch.heads[Sender.CLIENT] += piece.data
        head = watch.heads[Sender.CLIENT]
        if watch.lane is None and head.startswith((_TLS_HANDSHAKE, _TLS_DATA)):
            self._encrypt(watch, watch.undecided)
            return
        verdicts = {spec: spec.resynchronise(head, b"") for spec in find_joinable(watch)}
        for spec, verdict in verdicts.items():
            if verdict is Detection.YES:
                self._begin(watch, spec)
                return
        if len(head) > MOST_HEAD_SIZE or Detection.NEED_MORE not in verdicts.values():
            self._miss_boundary(watch)

    def _note_unseen(self, watch: Watch, sender: Sender, piece: Piece) -> None:
        """The target answers what was asked before: a request that may have made calls.

        A stream that never ends (server-sent events, a WebSocket) is believed for a while only.
        """
        if sender is Sender.CLIENT or watch.connection.role is not SocketRole.SERVER:
            return
        watch.unseen_ns = watch.unseen_ns or piece.time_ns
        if piece.time_ns - watch.unseen_ns <= LONGEST_UNSEEN_NS:
            end = Mark(piece.time_ns + self._clock_offset_ns, piece.tid, piece.offset)
            start = Mark(0)
            unseen = Exchange(
                "http", {}, None, start, start, response_end=end, problem=BEGAN_BEFORE
            )
            self._emit(watch, [unseen])

    def _miss_boundary(self, watch: Watch) -> None:
        watch.attempts += 1
        watch.is_after_server = False
        self._leave_undecided(watch)
        if watch.attempts >= MOST_RESYNC_ATTEMPTS:
            self._give_up(watch, NO_START)

    def _feed(self, watch: Watch, pairer: Pairer, sender: Sender, piece: Piece) -> None:
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
            self._leave_pairer(watch, pairer, pairer.broken)

    def _leave_pairer(self, watch: Watch, pairer: Pairer, reason: str) -> None:
        """Nothing more of its protocol comes: through a tunnel begins another connection's."""
        if not isinstance(pairer, TunnellingPairer) or not pairer.is_tunnel:
            self._give_up(watch, reason)
            return
        watch.pairer = None

    def _give_up(self, watch: Watch, reason: str) -> None:
        if not watch.is_given_up:
            self.unparsed[reason] += 1
        watch.is_given_up = reason
        self._leave_undecided(watch)

    def _leave_undecided(self, watch: Watch) -> None:
        for sender, piece in watch.undecided:
            self._note_unparsed(watch, sender, piece)
        watch.forget_undecided()

    def _note_unparsed(self, watch: Watch, sender: Sender, piece: Piece) -> None:
        """What the target asks where nothing is parsed keeps out the cases that may have asked."""
        if watch.has_unknown_calls:
            reason = watch.is_given_up or NO_START
            self._emit(watch, watch.unparsed.take(sender, piece, self._clock_offset_ns, reason))

    def _emit(self, watch: Watch, exchanges: Iterable[Exchange]) -> None:
        ends = watch.ends
        if ends is None:
            ends = watch.ends = find_ends(watch.connection)
        for exchange in exchanges:
            self._sink(RecordedExchange(exchange, *ends, tls=tls_of(watch)))
