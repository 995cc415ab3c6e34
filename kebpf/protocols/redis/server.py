"""Is a Redis server for one connection: framing, replies in either version, transactions.

A call is asked of the answerer once; a transaction as one unit at its EXEC.  Session commands are
answered by `SessionCommands` and told to the answerer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kebpf.protocols.base import (
    Answerer,
    Document,
    KeepingAnswerer,
    Mark,
    Miss,
    PatientAnswerer,
    ProtocolError,
)
from kebpf.protocols.redis.catalogue import (
    ALLOWED_WHILE_SUBSCRIBED,
    LEAVES_PROTOCOL,
    NEVER_QUEUED,
    command_name,
    is_session_command,
    subcommand_name,
    waiting_seconds,
)
from kebpf.protocols.redis.commands import CommandParser
from kebpf.protocols.redis.convert import convert_reply
from kebpf.protocols.redis.credentials import mask_credentials
from kebpf.protocols.redis.greetings import Greetings
from kebpf.protocols.redis.outstanding import QUEUED
from kebpf.protocols.redis.session import OK, SessionCommands, SessionState, make_error
from kebpf.protocols.redis.stream import Message
from kebpf.protocols.redis.subscriptions import PUBLISHING
from kebpf.protocols.redis.text import Text, to_printable
from kebpf.protocols.redis.writer import write_reply

MOST_KEPT_SIZE = 512  # bytes of a command that is kept with the request it means, or of a reply
MOST_WRITTEN = 256  # replies that are kept as bytes


class RedisServer:
    """The server's side of one connection."""

    def __init__(self, answerer: Answerer, facts: Sequence[Document]) -> None:
        self._answerer = answerer
        self._commands = CommandParser()
        self._state = SessionState(Greetings(facts), answerer)
        self._session = SessionCommands(self._state, answerer)
        self._queue: list[list[Text]] | None = None
        self._out: list[bytes] = []
        self._call: Document | None = None  # what was last asked for outside a transaction
        self._keeper = answerer if isinstance(answerer, KeepingAnswerer) else None
        # By the identities of a kept request and its response, and the version of RESP.
        self._written: dict[tuple[int, int, int], tuple[Document, Document, bytes]] = {}
        self._news: list[Document] = []
        self._waiting: Document | None = None  # a call whose answer is still to come
        self._patient = answerer if isinstance(answerer, PatientAnswerer) else None
        self.waits_s: float | None = None
        self.is_closed = False

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the client sent; gives the replies to all commands completed by it."""
        if self.is_closed:
            return b""
        keeper = self._keeper if self._is_plain(data) else None
        source = self._state.asked_db, data
        request = keeper.find_request(source) if keeper is not None else None
        if request is not None:
            self._answer_kept(request)
        elif self._read(data) == 1 and keeper is not None:
            self._keep(keeper, source)
        return self._take_out()

    def _take_out(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def _is_plain(self, data: bytes) -> bool:
        """Whether ``data``, if it is one command and a call, means the same whenever it comes."""
        state = self._state
        is_open = self._queue is not None or state.is_muted or state.skips
        is_open = is_open or self._waiting is not None
        return not (is_open or state.is_resp2_subscriber or len(data) > MOST_KEPT_SIZE) and (
            self._commands.is_idle
        )

    def _keep(self, keeper: KeepingAnswerer, source: tuple[int, bytes]) -> None:
        """Keeps what was asked for, unless it waits or tells other clients something."""
        call = self._call
        if call is None or not self._commands.is_idle or self.is_closed:
            return
        command = call["command"]
        if waiting_seconds(command) is None and command_name(command) not in PUBLISHING:
            keeper.keep_request(source, call)

    def _answer_kept(self, request: Document) -> None:
        """As `_answer`; the same response to the same request is written once."""
        response = self._ask(request)
        if response is None:
            return
        key = id(request), id(response), self._state.version
        kept = self._written.get(key)
        data = kept[2] if kept is not None else self._write(request, response)
        if kept is None and len(data) <= MOST_KEPT_SIZE:
            if len(self._written) >= MOST_WRITTEN:
                self._written.clear()
            # with both documents, so that no other gets their identities
            self._written[key] = request, response, data
        self._out.append(data)

    def _read(self, data: bytes) -> int:
        """Answers all commands completed by ``data``; how many these are."""
        self._commands.feed(data, Mark(0))
        return self._go_on()

    def _go_on(self) -> int:
        self._call, count = None, 0
        try:
            while (message := self._next_message()) is not None:
                count += 1
                self._receive(message.document["command"])
        except ProtocolError as error:
            self._send(make_error(f"ERR Protocol error: {error}"))
            self._state.is_closed = True
        self.is_closed = self._state.is_closed
        return count

    def _next_message(self) -> Message | None:
        if self._state.is_closed or self._waiting is not None:
            return None
        return self._commands.next_message()

    def receive_eof(self) -> bytes:
        """The client closed its direction: nothing more to say."""
        self.is_closed = True
        return b""

    # Commands that wait

    def _answer_or_wait(self, request: Document) -> None:
        seconds = waiting_seconds(request["command"])
        if seconds is None or self._patient is None or self._state.is_muted:
            self._answer(request)
            return
        request["db"] = self._state.asked_db
        if self._patient.is_due(request):
            self._answer(request)
        else:
            self._waiting, self.waits_s = request, seconds

    def resume(self) -> bytes:
        """Something was answered elsewhere: the answer to what waits, if it is due by now."""
        request = self._waiting
        if request is None or self._patient is None or not self._patient.is_due(request):
            return b""
        self._end_waiting()
        self._answer(request)
        self._go_on()
        return self._take_out()

    def expire(self) -> bytes:
        """The time of what waits is over: it found nothing, as a server would say."""
        request = self._waiting
        if request is None:
            return b""
        self._end_waiting()
        self._send(self._convert({"type": "null"}, request, True))
        self._go_on()
        return self._take_out()

    def _end_waiting(self) -> None:
        self._waiting, self.waits_s = None, None

    def take_news(self) -> Sequence[Document]:
        """What its client published: the commands."""
        news, self._news = self._news, []
        return news

    def hear(self, news: Document) -> bytes:
        """Another client published: the messages for this one's subscriptions."""
        self._tell(news["command"])
        return self._take_out()

    def _tell(self, command: list[Text]) -> None:
        for message in self._state.subscriptions.hear(command):
            self._send(convert_reply(message, {"command": [""]}, self._state.version))

    def _publish(self, commands: Iterable[list[Text]]) -> None:
        """Calls were answered: what they published goes to this client too."""
        for command in commands:
            if command_name(command) in PUBLISHING and len(command) == 3:
                self._news.append({"command": command})
                self._tell(command)

    def _receive(self, command: list[Text]) -> None:
        """Answers one command, unless CLIENT REPLY has silenced the answer."""
        before = len(self._out)
        is_skipped, self._state.skips = self._state.skips > 0, 0
        self._dispatch(command)
        speaks_again = _reply_mode(command) == "ON" or command_name(command) == "RESET"
        if self._state.is_muted or (is_skipped and not speaks_again):
            del self._out[before:]

    def _dispatch(self, command: list[Text]) -> None:
        name = command_name(command)
        if self._queue is not None and name not in NEVER_QUEUED:
            self._enqueue(command)
        elif self._state.is_resp2_subscriber and name not in ALLOWED_WHILE_SUBSCRIBED:
            self._send(make_error(_refuse_subscriber(name)))
        elif name in ("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "RESET"):
            self._handle_transaction(name, command)
        elif name in LEAVES_PROTOCOL:
            self._send(make_error(f"KEBPF {name} cannot be replayed"))
        elif is_session_command(command):
            for reply in self._session.answer(command):
                self._send(reply)
        else:
            self._call = {"command": mask_credentials(command)}
            self._answer_or_wait(self._call)

    # Transactions

    def _handle_transaction(self, name: str, command: list[Text]) -> None:
        if name == "MULTI":
            self._begin()
        elif name == "EXEC":
            self._execute(command)
        elif name == "DISCARD" and self._queue is None:
            self._send(make_error("ERR DISCARD without MULTI"))
        elif name == "WATCH" and self._queue is not None:
            self._enqueue(command, make_error("ERR WATCH inside MULTI is not allowed"))
        else:
            self._watch_or_end(name, command)

    def _begin(self) -> None:
        if self._queue is not None:
            self._enqueue(["MULTI"], make_error("ERR MULTI calls can not be nested"))
            return
        self._queue = []
        self._send(OK)

    def _enqueue(self, command: list[Text], reply: Document = QUEUED) -> None:
        """Queues, or refuses as the recorded server did, what MULTI takes in."""
        assert self._queue is not None
        masked = mask_credentials(command)
        self._queue.append(masked)
        self._send(self._state.greetings.refusals.get(tuple(masked), reply))

    def _execute(self, command: list[Text]) -> None:
        if self._queue is None:
            self._send(make_error("ERR EXEC without MULTI"))
            return
        request: Document = {"command": command, "queued": self._queue}
        if self._state.watched:
            request["watched"] = self._state.watched
        queue = self._queue
        self._end_transaction()
        response = self._answer(request)
        if response and response.get("reply", {}).get("type") == "array":
            self._state.note_executed(queue)
            self._publish(queue)

    def _watch_or_end(self, name: str, command: list[Text]) -> None:
        request: Document = {"command": command}
        if name == "WATCH":
            self._state.watched += command[1:]
        elif name == "RESET":
            self._end_transaction()
        else:
            if self._queue is not None:
                request["queued"] = self._queue
            self._end_transaction()
        for reply in self._session.answer_request(request):
            self._send(reply)

    def _end_transaction(self) -> None:
        self._queue = None
        self._state.watched = []

    # Calls

    def _answer(self, request: Document) -> Document | None:
        """Asks for the recorded response and sends it; gives it if there was one."""
        response = self._ask(request)
        if response is None:
            return None
        if "queued" not in request:
            self._publish([request["command"]])
        self._out.append(self._write(request, response))
        return response

    def _ask(self, request: Document) -> Document | None:
        """The recorded response; a miss is sent."""
        request["db"] = self._state.asked_db
        response = self._answerer.answer(request)
        if isinstance(response, Miss):
            self._send(make_error("KEBPF " + response.reason))
            return None
        return response

    def _write(self, request: Document, response: Document) -> bytes:
        replies = response["replies"] if "replies" in response else [response["reply"]]
        is_resp3 = response.get("resp") == 3
        return b"".join(write_reply(self._convert(one, request, is_resp3)) for one in replies)

    def _convert(self, reply: Document, request: Document, is_resp3: bool) -> Document:
        try:
            return convert_reply(reply, request, self._state.version, is_resp3)
        except ProtocolError as error:
            return make_error(f"KEBPF {error}")

    def _send(self, reply: Document) -> None:
        self._out.append(write_reply(reply))


def _reply_mode(command: list[Text]) -> str:
    if command_name(command) != "CLIENT" or subcommand_name(command) != "REPLY":
        return ""
    return to_printable(command[2]).upper() if len(command) > 2 else ""


def _refuse_subscriber(name: str) -> str:
    return (
        f"ERR Can't execute '{name.lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / "
        "PING / QUIT / RESET are allowed in this context"
    )
