"""Is the server of one PostgreSQL connection: start-up, simple queries, COPY, dispatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Answerer, Document, ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.admitting import Admission
from kebpf.protocols.postgres.answering import Answers
from kebpf.protocols.postgres.cancelling import Cancelling
from kebpf.protocols.postgres.documents import make_request, printable
from kebpf.protocols.postgres.extended import ExtendedQuery, RecordedError, ServedPortal
from kebpf.protocols.postgres.flights import read_flight
from kebpf.protocols.postgres.framing import FRONTEND_KINDS, Frame, FrameReader
from kebpf.protocols.postgres.opening import startup_request
from kebpf.protocols.postgres.parser import parse_frontend, parse_untyped
from kebpf.protocols.postgres.replies import (
    error_bytes,
    notification_bytes,
    parameter_bytes,
    response_bytes,
)
from kebpf.protocols.postgres.scram import Login
from kebpf.protocols.postgres.settings import DEFAULT_PARAMETERS, Settings
from kebpf.protocols.postgres.statements import (
    copies_in,
    is_binary_copy,
    is_plain_sql,
    split_sql,
)
from kebpf.protocols.postgres.synthesis import SessionError, SessionState, make_report
from kebpf.protocols.postgres.writer import write

# COPY data a client may send for one statement.
MAX_COPY_SIZE = 64 * 1024 * 1024
_READY = {status: write(m.ReadyForQuery(status)) for status in "ITE"}


@dataclass(slots=True)
class _CopyIn:
    """A COPY FROM STDIN whose data is coming; ``portal`` is ``None`` in a simple query."""

    request: Document
    formats: list[m.CopyResponse]
    portal: ServedPortal | None
    data: bytearray = field(default_factory=bytearray)


class PostgresServer:
    """The `ServerSession` of PostgreSQL."""

    def __init__(self, answerer: Answerer, facts: Sequence[Document]) -> None:
        self.is_closed = False
        self.offers_tls = False
        self.gives_way = False
        self.login = Login()
        self._admission: Admission | None = None
        self._answerer = answerer
        self._facts = facts
        self._reader = FrameReader(FRONTEND_KINDS, is_untyped=True)
        self._answers: Answers | None = None
        self._served: _Served | None = None
        self.copy: _CopyIn | None = None
        self._cancelling = Cancelling(facts)
        self.is_skipping = False  # to the next Sync
        self._is_busy = False  # with commands, or in a transaction
        self._is_heard = False  # it said something behind its start-up

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the client sent and gives what to send back (maybe nothing yet)."""
        if self.is_closed:
            return b""
        messages = read_flight(data) if self._is_ready_for_flights else None
        if messages is None:
            return self._receive_frames(data)
        return self._receive_messages(messages)

    @property
    def _is_ready_for_flights(self) -> bool:
        """Whether whole messages can be answered one after the other, whatever they are."""
        admission = self._admission
        is_started = admission is not None and admission.is_open and not self._cancelling.can_hold
        return is_started and not self._reader.buffered_size

    def _receive_messages(self, messages: Sequence[m.FrontendMessage]) -> bytes:
        served = self._served
        assert served is not None
        out = b""
        try:
            for message in messages:
                self._is_busy = self._is_heard = True
                out += served.dispatch(message)
                if self.is_closed:
                    break
        except ProtocolError as error:
            out += self._break_off(error)
        return out

    def _break_off(self, error: ProtocolError) -> bytes:
        self.is_closed = True
        return error_bytes(make_report("08P01", str(error), "FATAL"))

    def _receive_frames(self, data: bytes) -> bytes:
        self._reader.feed(data)
        out = bytearray()
        cancelling = self._cancelling
        try:
            while (
                not (self.is_closed or self.gives_way)
                and not cancelling.is_holding
                and (frame := self._reader.next_frame())
            ):
                out += self._on_frame(frame)
        except ProtocolError as error:
            out += self._break_off(error)
        return bytes(out)

    def receive_eof(self) -> bytes:
        """The client closed its direction."""
        self.is_closed = True
        if self._admission is not None and not self._is_heard:
            self._admission.end()
        return b""

    def take_news(self) -> Sequence[Document]:
        """What its client cancelled, or notified others of and committed."""
        if self._answers is None:
            return self._cancelling.take_requests()
        state = self._answers.state
        sent = state.notifications.take_sent()
        return [{"database": state.database, "channel": c, "payload": p} for c, p in sent]

    def take_problems(self) -> Sequence[str]:
        """What its client was refused though the recording was not asked for it."""
        admission = self._admission
        if admission is not None and admission.problem is not None:
            problem, admission.problem = admission.problem, None
            return [problem]
        if self._answers is None or not self._answers.state.problems:
            return ()
        state = self._answers.state
        problems, state.problems = state.problems, []
        return problems

    def hear(self, news: Document) -> bytes:
        """Another client's notification: sent at once to a client that no command runs for.

        Or it cancels what this one waits for: gives that, and what was asked meanwhile.
        """
        if "cancel" in news:
            held = self._cancelling.release(news)
            return b"" if held is None else held + self.receive_data(b"")
        if self._answers is None or news["database"] != self._answers.state.database:
            return b""
        notifications = self._answers.state.notifications
        notifications.hear(news["channel"], news["payload"])
        if self._is_busy:
            return b""
        return notification_bytes(notifications.take_heard(), self.process_id)

    def _on_frame(self, frame: Frame) -> bytes:
        if self._served is None or self._answers is None:
            return self._on_untyped(frame)
        if self._admission is not None and not self._admission.is_open:
            return self._on_password(frame, self._admission)
        self._is_busy = self._is_heard = True
        answer = self._served.dispatch(parse_frontend(frame.kind, frame.payload))
        failure, self._answers.state.failure = self._answers.state.failure, None
        if failure is not None and self._cancelling.is_awaited(failure):
            self._cancelling.hold(answer)
            return b""
        return answer

    # --- start-up -------------------------------------------------------------------------

    def _on_untyped(self, frame: Frame) -> bytes:
        message = parse_untyped(frame.payload)
        if isinstance(message, m.StartupMessage):
            return self._start(message)
        if isinstance(message, m.CancelRequest):
            self._answerer.session({"kind": "cancel", "process_id": message.process_id})
            self._cancelling.ask(message)
            self.is_closed = True
            return b""
        self.gives_way = self.offers_tls and isinstance(message, m.SSLRequest)
        return b"S" if self.gives_way else b"N"

    def _start(self, message: m.StartupMessage) -> bytes:
        request = startup_request(message.parameters)
        recorded = self._answerer.session(request) or self._find_fact(request) or {}
        if recorded.get("error"):
            self.is_closed = True
            return error_bytes(recorded["error"])
        self._reader.is_untyped = False
        parameters = {
            **DEFAULT_PARAMETERS,
            "session_authorization": request["user"],
            **recorded.get("parameters", {}),
        }
        settings = Settings(parameters, request["options"])
        state = SessionState(settings, request["user"], request["database"])
        self._answers = Answers(self._answerer, state, self._facts)
        self._served = _Served(self._answers, ExtendedQuery(self._answers), self)
        reported = {n: v for n, v in settings.values.items() if n in parameters}
        welcome = parameter_bytes(reported) + write(self._cancelling.key) + _READY["I"]
        self._admission = Admission(self.login, welcome, recorded.get("authentication"))
        return _negotiate(message) + self._admission.begin()

    def _on_password(self, frame: Frame, admission: Admission) -> bytes:
        return admission.receive(parse_frontend(frame.kind, frame.payload))

    def _find_fact(self, request: Document) -> Document | None:
        """The recorded start-up most like this one: same user and database, else any."""
        starts = [
            fact
            for fact in self._facts
            if fact["request"].get("kind") == "startup"
            and fact.get("response")
            and not fact["response"].get("error")
        ]
        for fact in starts:
            if all(fact["request"].get(k) == request[k] for k in ("user", "database")):
                return dict(fact["response"])
        return {"parameters": _server_facts(starts[0]["response"])} if starts else None

    # --- state the dispatcher shares ------------------------------------------------------

    def skip_to_sync(self) -> None:
        self.is_skipping = True

    @property
    def process_id(self) -> int:
        """Its own among the served connections."""
        return self._cancelling.process_id

    def rest(self) -> None:
        """All commands are done, and no transaction is open."""
        self._is_busy = False

    def end_skipping(self) -> None:
        self.is_skipping = False


class _Served:
    """Takes one message of a started connection to its answer."""

    def __init__(self, answers: Answers, extended: ExtendedQuery, session: PostgresServer) -> None:
        self._answers = answers
        self._extended = extended
        self._session = session
        self._handlers: dict[type, Callable[[Any], bytes]] = {
            m.Parse: extended.parse,
            m.Bind: extended.bind,
            m.Describe: extended.describe,
            m.Close: extended.close,
            m.Execute: self._execute,
            m.Flush: lambda _: extended.settle(),
            m.Query: self._query,
            m.FunctionCall: self._call_function,
        }

    def dispatch(self, message: m.FrontendMessage) -> bytes:
        session = self._session
        if isinstance(message, m.Terminate):
            session.is_closed = True
            return b""
        if session.copy is not None:
            return self._on_copy(message, session.copy)
        if isinstance(message, m.Sync):
            return self._sync()
        return b"" if session.is_skipping else self._run(message)

    def _run(self, message: m.FrontendMessage) -> bytes:
        handler = self._handlers.get(type(message))
        if handler is None:  # what is left of a COPY that failed, or an unasked password
            return b""
        try:
            return handler(message)
        except SessionError as error:
            return self._refuse(message, error)

    def _refuse(self, message: m.FrontendMessage, error: SessionError) -> bytes:
        document = error.document()
        if not isinstance(error, RecordedError):
            document = self._answers.word(document)
        self._extended.discard_pending()
        self._answers.state.note_refusal(error)
        self._answers.state.block.fail()
        if isinstance(message, m.Query | m.FunctionCall):
            return error_bytes(document) + self._ready()
        self._session.skip_to_sync()
        return error_bytes(document)

    def _ready(self) -> bytes:
        self._extended.forget_statements()
        status = self._answers.state.block.status
        if status != "I":
            return _READY[status]
        self._extended.end_transaction()
        self._session.rest()
        told = self._answers.state.notifications.commit()
        return notification_bytes(told, self._session.process_id) + _READY["I"]

    def _sync(self) -> bytes:
        out = b""
        if not self._session.is_skipping:
            try:
                out = self._extended.settle()
            except SessionError as error:
                out = error_bytes(error.document())
                self._answers.state.note_refusal(error)
                self._answers.state.block.fail()
        self._extended.discard_pending()
        self._session.end_skipping()
        return out + self._ready()

    def _query(self, message: m.Query) -> bytes:
        out = self._extended.settle()
        sql = printable(message.sql)
        request = make_request(sql)
        self._extended.name_cursor(request)
        copy = self._copy_request(request, None)
        if copy is not None:
            return out + self._start_copy(copy)
        return out + self._answer_query(request)

    def _answer_query(self, request: Document) -> bytes:
        response = self._whole_response(request)
        self._extended.learn(str(request["sql"]), response.get("results", ()))
        parameters = parameter_bytes(response.get("parameters") or {})
        return response_bytes(response) + parameters + self._ready()

    def _whole_response(self, request: Document) -> Document:
        """The response with all its rows, should it have been recorded in pieces."""
        response = self._answers.run(request)
        pieces = 1
        while (results := response.get("results")) and results[-1].get("suspended"):
            following = self._answers.run({**request, "piece": pieces})
            pieces += 1
            response = _join_pieces(response, following)
        return response

    def _execute(self, message: m.Execute) -> bytes:
        portal = self._extended.find_portal(message.portal)
        copy = self._copy_request(portal.request, portal)
        if copy is not None:
            out = self._extended.settle_parse() + self._start_copy(copy)
        else:
            out = self._extended.execute(message)
        if portal.error and portal.is_ended and not portal.rows:
            self._session.skip_to_sync()
        return out

    def _call_function(self, message: m.FunctionCall) -> bytes:
        response = self._answers.call(
            {
                "kind": "function",
                "oid": message.oid,
                "arguments": list(message.arguments),
                "argument_formats": list(message.argument_formats),
                "result_format": message.result_format,
            }
        )
        if response.get("error"):
            raise RecordedError(response["error"])
        value = response["results"][0]["rows"][0][0]
        raw = value.encode() if isinstance(value, str) else value
        return write(m.FunctionCallResponse(raw)) + self._ready()

    # --- COPY FROM STDIN ------------------------------------------------------------------

    def _copy_request(self, request: Document, portal: ServedPortal | None) -> _CopyIn | None:
        """The COPY of a query that has one and was not refused when it was recorded."""
        sql = str(request["sql"])
        if is_plain_sql(sql):  # as a rule
            return None
        statements = split_sql(sql)
        copies = [s for s in statements if copies_in(s)]
        if not copies or not self._answers.state.can_run(statements[0]):
            return None
        description = self._answers.describe(sql)
        if description is not None and description.copy is None:
            return None
        known = description.copy if description is not None and description.copy else {}
        formats = [
            m.CopyResponse(
                "in",
                int(known.get("format", is_binary_copy(statement))),
                list(known.get("column_formats", [])),
            )
            for statement in copies
        ]
        return _CopyIn({**request}, formats, portal)

    def _start_copy(self, copy: _CopyIn) -> bytes:
        self._session.copy = copy
        return write(copy.formats.pop(0))

    def _on_copy(self, message: m.FrontendMessage, copy: _CopyIn) -> bytes:
        if isinstance(message, m.CopyData):
            if len(copy.data) + len(message.data) > MAX_COPY_SIZE:
                raise ProtocolError("more COPY data than is kept")
            copy.data += message.data
            return b""
        if isinstance(message, m.Sync | m.Flush):
            return b""
        if isinstance(message, m.CopyDone) and copy.formats:
            return write(copy.formats.pop(0))
        if isinstance(message, m.CopyDone | m.CopyFail):
            return self._end_copy(message, copy)
        raise ProtocolError("a message that has no place in COPY")

    def _end_copy(self, message: m.CopyDone | m.CopyFail, copy: _CopyIn) -> bytes:
        self._session.copy = None
        copy.request["copy_data"] = bytes(copy.data)
        if isinstance(message, m.CopyFail):
            copy.request["copy_fail"] = printable(message.message)
        portal = copy.portal
        if portal is None:
            return self._answer_query(copy.request)
        try:
            out = self._extended.complete_copy(portal, copy.request)
        except SessionError as error:
            return self._refuse(message, error)
        if portal.error:
            self._session.skip_to_sync()
        return out


def _join_pieces(response: Document, following: Document) -> Document:
    results = following.get("results") or []
    last = dict(response["results"][-1])
    if results:
        last["rows"] = last["rows"] + results[0]["rows"]
        last["suspended"], last["tag"] = results[0]["suspended"], results[0]["tag"]
    else:
        last["suspended"] = False
    if str(last["tag"]).startswith("SELECT "):
        last["tag"] = f"SELECT {len(last['rows'])}"
    return {**response, "results": [last], "error": following.get("error")}


def _negotiate(message: m.StartupMessage) -> bytes:
    """Version 3.0 is spoken and no protocol extension is known."""
    extensions = [name for name, _ in message.parameters if name.startswith("_pq_.")]
    if message.version == m.PROTOCOL_VERSION and not extensions:
        return b""
    return write(m.NegotiateProtocolVersion(0, extensions))


def _server_facts(response: Document) -> dict[str, str]:
    """What another user's connection tells of the server itself."""
    own = ("session_authorization", "is_superuser", "application_name")
    return {n: v for n, v in response.get("parameters", {}).items() if n not in own}
