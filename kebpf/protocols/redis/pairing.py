"""Pairs the commands and replies of one connection to exchanges.

While everything is seen, the n-th reply belongs to the n-th command, but for pushes.  After lost
bytes (and when the connection was joined in its middle) nothing is paired until a *turn*: the
server has spoken since the client last did, nothing that is known of is outstanding, and the
client now begins a command.  A client that pipelines without ever waiting for its replies has no
such turn that could be told for certain; what can be checked then is checked: a reply of a type
its command cannot have, or one reply too many, ends the pairing until the next turn.
"""

from __future__ import annotations

from collections import deque

from kebpf.protocols.base import Detection, Exchange, Mark, ProtocolError, Sender
from kebpf.protocols.redis.catalogue import (
    ALLOWED_WHILE_SUBSCRIBED,
    LEAVES_PROTOCOL,
    SUBSCRIBING,
    UNSUBSCRIBING,
    bare_reply,
    error_text,
    fits_command,
    is_message,
    push_kind,
)
from kebpf.protocols.redis.client_state import ClientState
from kebpf.protocols.redis.commands import CommandParser
from kebpf.protocols.redis.connection_facts import ConnectionFacts
from kebpf.protocols.redis.detection import judge_command_start
from kebpf.protocols.redis.outstanding import (
    ENDS_TRANSACTION,
    QUEUED,
    Pending,
    Transaction,
    is_queue_reply,
)
from kebpf.protocols.redis.pushes import looks_like_push, make_push_exchange
from kebpf.protocols.redis.replies import ReplyParser
from kebpf.protocols.redis.stream import Message

MAX_EARLY_REPLIES = 64  # replies seen before the command that caused them
MAX_OUTSTANDING = 1024 * 1024  # commands waiting for a reply
IDLE_NS = 1_000_000_000  # for which a reply waits for the command that caused it
MAX_FAILURES = 16  # times the stream was not RESP before giving the connection up
_FAREWELLS = frozenset(("QUIT", *UNSUBSCRIBING))

JOINED = "the connection was joined in its middle"


class RedisPairer:
    """Watches both directions of one connection."""

    def __init__(self, joined: bool = False) -> None:
        self.broken: str | None = None
        self._commands = CommandParser()
        self._replies = ReplyParser()
        self._client = ClientState(None if joined else 0)
        self._facts = ConnectionFacts()
        self._outstanding: deque[Pending] = deque()
        self._early: deque[Message] = deque()
        self._is_proven = not joined  # every byte since the start was seen
        self._lost: str | None = JOINED if joined else None
        self._is_turn = joined
        self._candidate: list[tuple[bytes, Mark]] = []
        self._failures = 0
        self._last = Mark(0)

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes the next bytes of one direction; gives what they completed."""
        if self.broken or not data:
            return []
        self._last = mark
        if sender is Sender.CLIENT:
            return self._receive_client(data, mark)
        return self._receive_server(data, mark)

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Takes lost bytes: inside a payload they damage one message, elsewhere the pairing."""
        if self.broken:
            return []
        parser = self._commands if sender is Sender.CLIENT else self._replies
        if not self._lost and parser.skip(size, mark):
            return self._read_client() if sender is Sender.CLIENT else self._read_server()
        if sender is Sender.SERVER:
            exchanges = self._lose("replies were lost", mark)
            self._is_turn = True
            return exchanges
        return self._lose_commands(mark)

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction: a server that did will answer nothing more."""
        if self.broken or sender is Sender.CLIENT:
            return []
        return self._flush("the server closed the connection before it answered")

    def finish(self, mark: Mark) -> list[Exchange]:
        """Gives what waits for an answer, with its problem.

        But for a last QUIT or UNSUBSCRIBE, for whose reply a client need not wait: it says nothing.
        """
        if self._outstanding and self._outstanding[-1].name in _FAREWELLS:
            self._outstanding.pop()
        exchanges = self._flush("there was no reply before the recording of it ended")
        if self._commands.is_idle:
            return exchanges
        self._commands.clear()
        return [*exchanges, _make_problem("the request was cut off", mark)]

    @property
    def held_since(self) -> Mark | None:
        """Where the oldest reply was seen whose command is to come."""
        return self._early[0].end if self._early else None

    def release_idle(self, mark: Mark) -> list[Exchange]:
        """A command that was not seen a second after its reply was lost."""
        if not self._early or mark.time_ns - self._early[0].end.time_ns < IDLE_NS:
            return []
        return self._fail_unasked()

    # The client's side

    def _receive_client(self, data: bytes, mark: Mark) -> list[Exchange]:
        if not self._lost:
            self._commands.feed(data, mark)
            return self._read_client()
        if not self._is_turn:
            return [_make_problem(self._lost, mark)]
        self._candidate.append((data, mark))
        verdict = judge_command_start(b"".join(piece for piece, _ in self._candidate))
        if verdict is Detection.NEED_MORE:
            return []
        pieces, self._candidate, self._is_turn = self._candidate, [], False
        if verdict is Detection.NO:  # when joined: of a request that began before the recording
            return [] if self._lost == JOINED else [_make_problem(self._lost, mark)]
        exchanges = self._flush(self._lost)
        self._lost = None
        self._replies.clear()
        for piece in pieces:
            self._commands.feed(*piece)
        return exchanges + self._read_client()

    def _read_client(self) -> list[Exchange]:
        exchanges: list[Exchange] = []
        try:
            while not self._lost and (message := self._commands.next_message()):
                exchanges += self._receive_command(message)
        except ProtocolError as error:
            exchanges += self._fail(f"the client's bytes are not RESP: {error}")
        return exchanges

    def _receive_command(self, message: Message) -> list[Exchange]:
        pending = self._client.expect(message)
        if pending.name in LEAVES_PROTOCOL:
            return self._break(LEAVES_PROTOCOL[pending.name], pending)
        if not pending.replies_due:
            return self._complete(pending, pending.end)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            return self._fail("more commands wait for their replies than the cap")
        self._outstanding.append(pending)
        exchanges: list[Exchange] = []
        while self._early and self._outstanding:
            exchanges += self._receive_reply(self._early.popleft())
        return exchanges

    # The server's side

    def _receive_server(self, data: bytes, mark: Mark) -> list[Exchange]:
        if self._lost and not self._outstanding:
            return self._watch_server(data, mark)
        self._replies.feed(data, mark)
        return self._read_server()

    def _watch_server(self, data: bytes, mark: Mark) -> list[Exchange]:
        """While nothing is paired, the server's speaking makes a turn; pushes are still read."""
        self._is_turn = True
        self._candidate = []
        if self._replies.is_idle and not looks_like_push(data):
            return []
        self._replies.feed(data, mark)
        exchanges: list[Exchange] = []
        try:
            while message := self._replies.next_message():
                if self._is_push(message):
                    exchanges.append(make_push_exchange(message, self._facts))
        except ProtocolError:
            self._replies.clear()
        return exchanges

    def _read_server(self) -> list[Exchange]:
        exchanges: list[Exchange] = []
        try:
            while message := self._replies.next_message():
                exchanges += self._receive_reply(message)
        except ProtocolError as error:
            exchanges += self._fail(f"the server's bytes are not RESP: {error}")
        return exchanges

    def _receive_reply(self, message: Message) -> list[Exchange]:
        if self._is_push(message):
            return [make_push_exchange(message, self._facts)]
        if not self._outstanding:
            return self._receive_unasked(message)
        pending = self._outstanding[0]
        if problem := self._misfit(pending, message):
            return self._fail(problem)
        pending.response_start = pending.response_start or message.start
        pending.replies.append(message.document)
        if message.is_damaged:
            pending.problem = "part of the reply was lost"
        pending.replies_due -= 1
        if pending.replies_due and error_text(message.document) is None:
            return []
        self._outstanding.popleft()
        return self._complete(pending, message.end)

    def _receive_unasked(self, message: Message) -> list[Exchange]:
        """A reply nothing was asked for: seen too early, or proof that the pairing is wrong."""
        if self._lost:
            self._is_turn = True
            return []
        if self._is_proven and len(self._early) < MAX_EARLY_REPLIES:
            self._early.append(message)
            return []
        return self._fail_unasked()

    def _fail_unasked(self) -> list[Exchange]:
        exchanges = self._fail("the server sent a reply that no command was seen for")
        self._is_turn = True
        return exchanges

    def _is_push(self, message: Message) -> bool:
        tree = bare_reply(message.document)
        head = self._outstanding[0].name if self._outstanding else ""
        is_subscribing = head in SUBSCRIBING or head in UNSUBSCRIBING
        if is_subscribing and push_kind(tree) == head.lower():
            return False
        if tree["type"] == "push":
            return True
        if tree["type"] != "array" or not is_message(tree):
            return False
        if self._client.has_subscriptions or any(
            p.name in UNSUBSCRIBING for p in self._outstanding
        ):
            return True  # until an UNSUBSCRIBE is acknowledged messages may still come
        return not self._is_proven and (not head or head in ALLOWED_WHILE_SUBSCRIBED)

    def _misfit(self, pending: Pending, message: Message) -> str | None:
        """Why the reply cannot be the answer to the command, if it cannot."""
        tree = message.document
        if pending.transaction and pending.name not in {"MULTI", *ENDS_TRANSACTION}:
            return None if is_queue_reply(tree) else "a reply inside MULTI is not QUEUED"
        if self._is_proven or pending.transaction:
            return None
        if tree == QUEUED or (pending.name == "EXEC" and error_text(tree) is None):
            return "a command belongs to a MULTI that was not seen"
        if fits_command(pending.command, tree):
            return None
        return "a reply is of a type its command cannot have"

    # Both

    def _complete(self, pending: Pending, end: Mark) -> list[Exchange]:
        """The exchange, unless the command is a part of a transaction that goes on."""
        self._facts.learn(pending)
        if pending.name == "SELECT" and any(map(error_text, pending.replies)):
            self._client.refuse_select(pending, self._outstanding)
        transaction = pending.transaction
        if transaction and pending.problem:
            transaction.problem = pending.problem
        if transaction and pending.name not in ENDS_TRANSACTION:
            return self._gather(pending, transaction, end)
        problem = pending.problem or (transaction.problem if transaction else None)
        exchange = pending.to_exchange(end, problem)
        self._facts.stamp(exchange)
        return [exchange]

    def _gather(self, pending: Pending, transaction: Transaction, end: Mark) -> list[Exchange]:
        """A reply inside a transaction; that a command could not be queued is also a fact."""
        reply = pending.replies[0] if pending.replies else None
        if pending.name == "MULTI" and not transaction.is_open:
            transaction.is_open = True
            if reply and error_text(reply) is not None:
                transaction.problem = "MULTI was refused"
            return []
        transaction.replies += pending.replies
        if reply and error_text(reply) is not None:
            return [pending.to_refusal(end)]
        return []

    def _flush(self, problem: str) -> list[Exchange]:
        """Ends everything outstanding, and a transaction that never came to its EXEC."""
        exchanges: list[Exchange] = []
        for pending in self._outstanding:
            if not pending.transaction or pending.name in ("EXEC", "DISCARD", "RESET"):
                exchanges.append(pending.to_exchange(None, problem))
        if self._client.transaction:
            transaction = self._client.transaction
            request = {"command": ["MULTI"], "queued": transaction.commands}
            exchanges.append(_make_problem(problem, transaction.start, request))
        for early in self._early:
            exchanges.append(_make_problem("a reply came that no command was seen for", early.end))
        self._outstanding.clear()
        self._early.clear()
        self._client = ClientState(None, self._client.blocks)
        return exchanges

    def _lose(self, reason: str, mark: Mark) -> list[Exchange]:
        """Stops pairing until the next turn."""
        exchanges = self._flush(reason)
        if not self._commands.is_idle:
            exchanges.append(_make_problem(reason, mark))
        if not exchanges and not self._lost:
            exchanges.append(_make_problem(reason, mark))
        self._forget(reason)
        self._replies.clear()
        return exchanges

    def _lose_commands(self, mark: Mark) -> list[Exchange]:
        """What was sent before the gap is still answered in order; after that nothing is known."""
        exchanges = [] if self._lost else [_make_problem("requests were lost", mark)]
        self._forget("requests were lost")
        self._client = ClientState(None, self._client.blocks)
        return exchanges

    def _forget(self, reason: str) -> None:
        self._lost = reason
        self._is_turn = False
        self._is_proven = False
        self._candidate = []
        self._commands.clear()

    def _fail(self, problem: str) -> list[Exchange]:
        """The bytes or the pairing proved wrong."""
        self._failures += 1
        exchanges = self._lose(problem, self._last)
        if self._failures >= MAX_FAILURES:
            self.broken = problem
        return exchanges

    def _break(self, reason: str, pending: Pending) -> list[Exchange]:
        self.broken = reason
        return [*self._flush(reason), pending.to_exchange(None, reason)]


def _make_problem(problem: str, mark: Mark, request: dict[str, object] | None = None) -> Exchange:
    return Exchange(
        protocol="redis",
        request=request or {"command": []},
        response=None,
        request_start=mark,
        request_end=mark,
        problem=problem,
        calls=0,
    )
