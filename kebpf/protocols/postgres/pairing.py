"""Watches both directions of a connection: framing, start-up, loss and finding the way back.

After a loss, or when joined mid-stream, the connection is followed again from a ReadyForQuery
that ends what the server sent; on a client that has several groups in flight, only once every
one of them must have been answered, or after a second of silence.  What is paired then is held
back until the client has asked again twice without the server having said anything unasked, so
that an answer that was still on its way cannot be taken for another's.  The first group is
believed only if it asks one thing in one piece: else it may have begun before it was seen.
"""

from __future__ import annotations

from collections import deque

from kebpf.protocols.base import Exchange, Mark, ProtocolError, Sender
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import make_request, name_database
from kebpf.protocols.postgres.exchanges import Step
from kebpf.protocols.postgres.following import Follower
from kebpf.protocols.postgres.framing import BACKEND_KINDS, FRONTEND_KINDS, Frame, FrameReader
from kebpf.protocols.postgres.learning import Lore
from kebpf.protocols.postgres.opening import Opening, cancel_exchange
from kebpf.protocols.postgres.parser import parse_backend, parse_frontend, parse_untyped

# Turns of the client for which what was paired after a loss is held back.
QUARANTINE_TURNS = 2
# Silence after which a client that pipelines is taken to have all its answers.
IDLE_NS = 1_000_000_000
# Answers that may be seen before the request they belong to (two threads of the target).
MAX_EARLY = 1_000

_ANCHORS = (b"Z\0\0\0\x05I", b"Z\0\0\0\x05T", b"Z\0\0\0\x05E")
_ANCHOR_SIZE = 6
_LOST_BYTES = "bytes of it were lost"
_UNASKED = "an answer to nothing that was asked"
_UNSEEN_REQUEST = "an answer came and the recording ended before its request was seen"


class PostgresPairer:
    """The `Pairer` of PostgreSQL."""

    def __init__(self, joined: bool = False) -> None:
        self.broken: str | None = None
        self._client = FrameReader(FRONTEND_KINDS, is_untyped=not joined)
        self._server = FrameReader(BACKEND_KINDS)
        self._follower = Follower()
        self._opening: Opening | None = None
        self._database: str | None = None  # known if the start-up was seen, or it was told
        self._awaits_reply = False  # to an SSLRequest or GSSENCRequest
        self.awaits_tls = False
        self._is_over = False
        self._is_lost = joined
        self._is_client_framed = not joined
        self._has_seen_server = False
        self._tail = b""
        self._last_ns = 0
        self._pipelines = False
        self._unanswered = 0  # groups whose answer may be to come, while lost
        self._turns = 0  # of the quarantine that are left
        self._is_first_group = False
        self._is_doubtful = False
        self._held: list[Exchange] = []
        self._early: deque[tuple[m.BackendMessage, Mark, Mark]] = deque()

    # --- the contract ---------------------------------------------------------------------

    def place(self, database: str | None) -> None:
        """Says which database a connection is for whose start-up was not seen."""
        self._database = database

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes the next bytes of one direction; gives what they completed."""
        if self.broken or self._is_over or not data:
            return []
        try:
            if self._is_lost:
                exchanges = self._receive_lost(sender, data, mark)
            elif sender is Sender.CLIENT:
                exchanges = self._receive_client(data, mark)
            else:
                exchanges = self._receive_server(data, mark)
        except ProtocolError as error:
            exchanges = self._lose(str(error), mark, sender)
        self._last_ns = mark.time_ns
        return self._hold(exchanges)

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Takes ``size`` bytes (0: an unknown number) known to be missing in one direction."""
        if self.broken or self._is_over:
            return []
        reader = self._client if sender is Sender.CLIENT else self._server
        is_framed = not self._is_lost and not reader.is_untyped and not self._awaits_reply
        if is_framed and reader.skip(size, mark):
            return self._receive_rest(sender, mark)
        return self._hold(self._lose(_LOST_BYTES, mark, sender, False))

    def _receive_rest(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """A gap may have been the end of a frame."""
        try:
            if sender is Sender.CLIENT:
                return self._hold(self._receive_client(b"", mark))
            return self._hold(self._receive_server(b"", mark))
        except ProtocolError as error:
            return self._hold(self._lose(str(error), mark, sender))

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction."""
        if sender is Sender.CLIENT or self._is_over:
            return []
        return self.finish(mark)

    def finish(self, mark: Mark) -> list[Exchange]:
        """The recording or the connection ended: gives what is unfinished, with its problem."""
        if self._is_over:
            return []
        self._is_over = True
        problem = "the connection or the recording ended before its response"
        given, self._held = self._held, []
        if self._opening is not None:
            given.append(self._opening.abandon(problem))
        given += self._follower.abandon(problem) + self._abandon_early(_UNSEEN_REQUEST)
        return self._name_database(given)

    def make_lore(self) -> Lore:
        """What connections to the same server share."""
        return Lore()

    def learn_from(self, lore: Lore) -> None:
        """Shares what is known of prepared statements from now on."""
        self._follower.learner.lore = lore

    # --- following ------------------------------------------------------------------------

    def _receive_client(self, data: bytes, mark: Mark) -> list[Exchange]:
        self._take_turn()
        self._client.feed(data, mark)
        given: list[Exchange] = []
        while not self._awaits_reply and (frame := self._client.next_frame()):
            given += self._on_client_frame(frame)
            if self._is_over:
                return given
        if self._is_first_group and not self._follower.has_lone_call:
            self._is_doubtful = True
        if self._follower.group_ends > 1:
            self._pipelines = True
            if self._turns:
                raise ProtocolError("requests were in flight when the connection was joined")
        return given + self._drain_early()

    def _on_client_frame(self, frame: Frame) -> list[Exchange]:
        if self._client.is_untyped:
            return self._on_untyped(frame)
        if frame.is_damaged:
            self._follower.on_frontend(_damaged_step(frame))
            return []
        message = parse_frontend(frame.kind, frame.payload)
        # Passwords are dropped there; what an eager client asks during start-up waits.
        size = len(frame.payload)
        self._follower.on_frontend(Step(message, frame.start, frame.end, size=size))
        return []

    def _on_untyped(self, frame: Frame) -> list[Exchange]:
        message = parse_untyped(frame.payload)
        if isinstance(message, m.CancelRequest):
            self._is_over = True
            return [cancel_exchange(message, frame.start, frame.end)]
        if isinstance(message, m.StartupMessage):
            self.awaits_tls = False
            self._client.is_untyped = False
            self._opening = Opening(message, frame.start, frame.end)
            self._database = self._opening.database
        else:
            self._awaits_reply = True
        return []

    def _receive_server(self, data: bytes, mark: Mark) -> list[Exchange]:
        self._has_seen_server = True
        self._server.feed(data, mark)
        if self._awaits_reply:
            return self._take_reply(mark)
        given: list[Exchange] = []
        while frame := self._server.next_frame():
            given += self._on_server_frame(frame)
        return given

    def _take_reply(self, mark: Mark) -> list[Exchange]:
        reply = self._server.take_byte()
        if reply == b"S":
            self._awaits_reply, self.awaits_tls = False, True
        elif reply == b"G":
            self.broken = "encrypted (GSSAPI)"
        elif reply == b"N":
            self._awaits_reply = False
            return self._receive_client(b"", mark)
        else:
            self.broken = "the server does not know encryption requests"
        return []

    def _on_server_frame(self, frame: Frame) -> list[Exchange]:
        if frame.is_damaged:
            if frame.kind in (b"D", b"d") and self._follower.spoil(
                _LOST_BYTES, frame.start, frame.end
            ):
                return []
            raise ProtocolError(_LOST_BYTES)
        message = parse_backend(frame.kind, frame.payload)
        if self._opening is not None:
            exchange = self._opening.on_backend(message, frame.start, frame.end)
            if exchange is None:
                return []
            self._opening = None
            return [exchange]
        return self._pair(message, frame.start, frame.end)

    def _pair(self, message: m.BackendMessage, start: Mark, end: Mark) -> list[Exchange]:
        if not self._early and self._follower.expects(message):
            given = self._follower.on_backend(message, start, end)
            if self._is_first_group and isinstance(message, m.ReadyForQuery):
                self._judge_first_group(given)
            return given
        self._early.append((message, start, end))
        if self._turns or self._client.is_untyped or len(self._early) > MAX_EARLY:
            raise ProtocolError(_UNASKED)
        return []

    def _drain_early(self) -> list[Exchange]:
        given: list[Exchange] = []
        while self._early and self._follower.expects(self._early[0][0]):
            given += self._follower.on_backend(*self._early.popleft())
        return given

    # --- loss -----------------------------------------------------------------------------

    def _lose(
        self, problem: str, mark: Mark, sender: Sender, is_contradiction: bool = True
    ) -> list[Exchange]:
        """Gives up what is in flight; whatever is still held back is in doubt as well."""
        if self._client.is_untyped or self._opening is not None or self._awaits_reply:
            return self._lose_opening(problem)
        self._unanswered = self._follower.group_ends
        given = self._give_up(problem, is_contradiction) + self._abandon_early()
        if sender is Sender.CLIENT and not given:
            given.append(_unknown_exchange(problem, mark))
        self._is_lost = True
        self._is_client_framed = self._is_client_framed and sender is Sender.SERVER
        if not self._is_client_framed:
            self._client.clear()
            self._follower.forget_names()
        self._server.clear()
        self._tail = b""
        return given

    def _give_up_early(self, mark: Mark) -> list[Exchange]:
        """The requests of these answers will not come; is there one left to be answered?"""
        is_settled = isinstance(self._early[-1][0], m.ReadyForQuery)
        given = self._lose(_LOST_BYTES, mark, Sender.CLIENT)
        self._tail = _ANCHORS[0] if is_settled else b""
        return given

    def _abandon_early(self, problem: str = _LOST_BYTES) -> list[Exchange]:
        """Stands for the requests that were not seen though their answers were.

        A gap is known only when bytes after it come, which may be much later; whoever asked was
        still under way when the answer came.
        """
        given: list[Exchange] = []
        is_first = True
        for message, start, _ in self._early:
            if is_first:
                given.append(_unknown_exchange(problem, start))
            is_first = isinstance(message, m.ReadyForQuery)
        self._early.clear()
        return given

    def _lose_opening(self, problem: str) -> list[Exchange]:
        self.broken = f"start-up: {problem}"
        if self._opening is None:
            return []
        exchange = self._opening.abandon(problem)
        self._opening = None
        return [exchange]

    def _give_up(self, problem: str, is_contradiction: bool = False) -> list[Exchange]:
        given = self._held + self._follower.abandon(problem)
        for exchange in given if is_contradiction or self._turns else []:
            exchange.problem = exchange.problem or f"answers came out of step: {problem}"
        self._held, self._turns = [], 0
        return given

    def _receive_lost(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        if sender is Sender.SERVER:
            return self._seek_anchor(data)
        if not self._has_seen_server or self._is_settled(mark):
            self._is_client_framed = True
            self._client.clear()
            given = self._resume()
            return given + self._receive_client(data, mark)
        if not self._is_client_framed:
            return [_unknown_exchange(_LOST_BYTES, mark)]
        self._client.feed(data, mark)
        while frame := self._client.next_frame():
            self._on_client_frame(frame)
        self._unanswered += self._follower.group_ends
        self._pipelines = self._pipelines or self._unanswered > 1
        # At once: who judges which request made a call must know that there was one.
        return self._follower.abandon(_LOST_BYTES)

    def _seek_anchor(self, data: bytes) -> list[Exchange]:
        self._has_seen_server = True
        self._tail = (self._tail + data[-_ANCHOR_SIZE:])[-_ANCHOR_SIZE:]
        if self._tail not in _ANCHORS:
            return []
        self._unanswered -= 1
        if self._pipelines and (self._unanswered > 0 or not self._is_client_framed):
            return []
        return self._resume()

    def _is_settled(self, mark: Mark) -> bool:
        """The server had ended an answer and both sides were silent for a while."""
        is_silent = mark.time_ns - self._last_ns >= IDLE_NS
        return self._tail in _ANCHORS and is_silent

    def _resume(self) -> list[Exchange]:
        given = self._give_up(_LOST_BYTES)
        self._is_lost = False
        self._is_client_framed = True
        self._client.is_untyped = False
        self._server.clear()
        self._turns = QUARANTINE_TURNS + 1
        self._follower.is_strict = True
        self._is_first_group, self._is_doubtful = True, False
        return given

    @property
    def held_since(self) -> Mark | None:
        """Where the oldest exchange began that is in quarantine, or whose request is to come."""
        starts = [one.request_start for one in self._held]
        if self._early:
            starts.append(self._early[0][1])
        return min(starts, key=_time_of, default=None)

    def release_idle(self, mark: Mark) -> list[Exchange]:
        """After a second in which nothing came, no answer is on its way any more."""
        is_silent = mark.time_ns - self._last_ns >= IDLE_NS
        if self._early and mark.time_ns - self._early[0][1].time_ns >= IDLE_NS:
            return self._name_database(self._give_up_early(mark))
        if not (self._held and is_silent and self._follower.is_idle):
            return []
        if self._client.buffered_size or self._is_lost:
            return []
        self._turns, self._follower.is_strict = 0, False
        given, self._held = self._held, []
        return given

    def _judge_first_group(self, exchanges: list[Exchange]) -> None:
        self._is_first_group = False
        for exchange in exchanges:
            error = exchange.response is not None and exchange.response.get("error")
            is_refused = error and exchange.request.get("form") != "simple"
            if self._is_doubtful or is_refused:
                exchange.problem = exchange.problem or "joined in the middle of its group"

    def _take_turn(self) -> None:
        """The client asks, and every answer it was given is accounted for."""
        if self._turns and self._follower.is_idle and not self._client.buffered_size:
            self._turns -= 1
            self._follower.is_strict = self._turns > 0

    def _name_database(self, exchanges: list[Exchange]) -> list[Exchange]:
        """Session matters are the same in every database, but for what a statement is like."""
        for exchange in exchanges:
            request = exchange.request
            if request["kind"] == "describe" or not exchange.is_session:
                exchange.request = name_database(request, self._database)
        return exchanges

    def _hold(self, exchanges: list[Exchange]) -> list[Exchange]:
        self._name_database(exchanges)
        if self._turns:
            self._held += exchanges
            return []
        given, self._held = self._held + exchanges, []
        return given


def _time_of(mark: Mark) -> int:
    return mark.time_ns


def _damaged_step(frame: Frame) -> Step:
    if frame.kind == b"d":
        return Step(m.CopyData(b""), frame.start, frame.end, _LOST_BYTES)
    if frame.kind == b"Q":
        return Step(m.Query(""), frame.start, frame.end, _LOST_BYTES)
    raise ProtocolError(_LOST_BYTES)


def _unknown_exchange(problem: str, mark: Mark) -> Exchange:
    """Stands for requests of which nothing can be told."""
    return Exchange(
        protocol="postgres",
        request=make_request(None),
        response=None,
        request_start=mark,
        request_end=mark,
        problem=problem,
    )
