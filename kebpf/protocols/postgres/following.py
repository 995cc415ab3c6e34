"""Puts what the server says beside what the client asked, on a connection followed without loss.

The client's messages wait in a queue; each of the server's belongs to the queue's head or is
asynchronous.  Names change only when the server confirms.  Exchanges are given at ReadyForQuery,
which says their transaction status (section 55.2).
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Callable
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark, ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.blocks import BlockCounter, judge_session
from kebpf.protocols.postgres.collecting import Collector, describe_row
from kebpf.protocols.postgres.documents import (
    printable,
    report_document,
)
from kebpf.protocols.postgres.exchanges import (
    Failure,
    Step,
    describe_exchange,
    failed_query,
    is_plausible,
    notification_exchange,
    start_collector,
)
from kebpf.protocols.postgres.learning import Learner
from kebpf.protocols.postgres.prepared import (
    Portal,
    PreparedStatement,
    apply_bind,
    apply_parse,
    apply_sql,
    find_portal,
    find_statement,
)
from kebpf.protocols.postgres.statements import split_sql

# Requests in flight; a connection with more is given up.
MAX_STEPS = 100_000
MAX_QUEUED_SIZE = 128 * 1024 * 1024

_GROUP_ENDS = (m.Query, m.Sync, m.FunctionCall)
_COPY_STEPS = (m.CopyData, m.CopyDone, m.CopyFail)
_ROW_STEPS = (m.Query, m.Execute)


class Follower:
    """One connection after start-up.  Contradictions raise ``ProtocolError``."""

    def __init__(self) -> None:
        self.is_strict = False
        self.learner = Learner()
        self.group_ends = 0
        self._queue: deque[Step] = deque()
        self._queued_size = 0
        self._current: Collector | None = None
        self._failure: Failure | None = None
        self._group: list[Exchange] = []
        self._unused: list[tuple[Step, Portal]] = []
        self._notices: list[m.NoticeResponse] = []
        self._blocks = BlockCounter()
        self._statements: dict[str, PreparedStatement] = {}
        self._portals: dict[str, Portal] = {}
        self._handlers: dict[type, Callable[[Any, Mark, Mark], None]] = {
            m.ParseComplete: self._on_parse_complete,
            m.BindComplete: self._on_bind_complete,
            m.CloseComplete: self._on_close_complete,
            m.ParameterDescription: self._on_parameters,
            m.RowDescription: self._on_row_description,
            m.NoData: self._on_no_data,
            m.DataRow: self._on_row,
            m.CommandComplete: self._on_complete,
            m.EmptyQueryResponse: self._on_complete,
            m.PortalSuspended: self._on_complete,
            m.CopyResponse: self._on_copy,
            m.CopyData: self._on_copy_data,
            m.CopyDone: self._on_copy_done,
            m.FunctionCallResponse: self._on_function,
            m.ErrorResponse: self._on_error,
        }

    @property
    def is_idle(self) -> bool:
        """Nothing has been asked that is not answered."""
        return not self._queue and self._failure is None

    @property
    def has_lone_call(self) -> bool:
        """What is in flight is one group, not yet answered, that asks for one thing at most."""
        calls = sum(isinstance(step.message, _ROW_STEPS) for step in self._queue)
        return calls == 0 or (calls == 1 and self.group_ends == 1)

    def on_frontend(self, step: Step) -> None:
        """The client sent a message."""
        if isinstance(step.message, m.Flush | m.Terminate | m.PasswordMessage):
            return
        if isinstance(step.message, _GROUP_ENDS):
            self.group_ends += 1
        elif isinstance(step.message, m.Parse | m.Close):
            self.learner.touch(step.message.name, self._statements)
        self._queue.append(step)
        self._queued_size += step.size
        if len(self._queue) > MAX_STEPS or self._queued_size > MAX_QUEUED_SIZE:
            raise ProtocolError("too many requests without an answer")
        self._absorb_copy()

    def expects(self, message: m.BackendMessage) -> bool:
        """Whether the server can say this now, by what has been seen of the client."""
        if isinstance(message, m.NoticeResponse | m.ParameterStatus | m.NotificationResponse):
            return True
        self._drop_stray_copy()
        if isinstance(message, m.ReadyForQuery):
            return self.group_ends > 0
        if isinstance(message, m.CommandComplete) and self._current is not None:
            return not self._is_copying_in()
        return bool(self._queue) or isinstance(message, m.ErrorResponse)

    def on_backend(self, message: m.BackendMessage, start: Mark, end: Mark) -> list[Exchange]:
        """The server sent a message; gives the exchanges of a group that ended."""
        if isinstance(message, m.NotificationResponse):
            return [notification_exchange(message, start, end)]
        if isinstance(message, m.NoticeResponse):
            self._on_notice(message)
            return []
        if isinstance(message, m.ParameterStatus):
            if self._current is not None:
                self._current.add_parameter(message)
            return []
        self._drop_stray_copy()
        if isinstance(message, m.ReadyForQuery):
            return self._on_ready(message)
        handler = self._handlers.get(type(message))
        if handler is None or (self._failure and not isinstance(message, m.ErrorResponse)):
            raise ProtocolError(f"an unexpected {type(message).__name__}")
        handler(message, start, end)
        return []

    def abandon(self, problem: str) -> list[Exchange]:
        """Ends everything in flight: what is complete is given, the rest with ``problem``.

        Names that may have changed meanwhile are forgotten.
        """
        if self._failure is not None:
            self._settle_failure(self._failure, self._pop_skipped())
        given = self._take_group()
        if self._current is not None:
            given.append(self._finish_current(problem))
            self._queue.popleft()
        given += self._abandon_steps(problem)
        self._forget_touched()
        self._queue.clear()
        self._queued_size = self.group_ends = 0
        self._blocks.lose()
        return given

    def forget_names(self) -> None:
        """Some of the client's messages were lost: any name may stand for something else now."""
        self._statements.clear()
        self._portals.clear()
        self.learner.stop()

    def _forget_touched(self) -> None:
        self._portals.clear()
        for step in self._queue:
            if isinstance(step.message, m.Parse | m.Close):
                self._statements.pop(step.message.name, None)

    def spoil(self, problem: str, start: Mark, end: Mark) -> bool:
        """Marks the response in progress; ``False`` if none can be."""
        if not self._queue or not isinstance(self._queue[0].message, _ROW_STEPS):
            return False
        self._collect(start, end).problem = problem
        return True

    # --- the queue ------------------------------------------------------------------------

    def _head(self, *kinds: type) -> Step:
        if not self._queue or not isinstance(self._queue[0].message, kinds):
            raise ProtocolError("an answer to something that was not asked")
        return self._queue[0]

    def _drop_stray_copy(self) -> None:
        """After a COPY failed the client's data is still on its way; the server ignores it."""
        while self._queue and isinstance(self._queue[0].message, _COPY_STEPS):
            self._queue.popleft()

    def _is_copying_in(self) -> bool:
        return self._current is not None and self._current.is_copying_in

    def _absorb_copy(self) -> None:
        """Gives the COPY in progress its data; Sync and Flush mean nothing meanwhile."""
        while self._is_copying_in() and len(self._queue) > 1 and self._current is not None:
            step = self._queue[1]
            if isinstance(step.message, m.Sync):
                self.group_ends -= 1
            elif isinstance(step.message, m.CopyData):
                self._current.add_copy_in(step.message.data)
                self._current.problem = self._current.problem or step.problem
            elif isinstance(step.message, m.CopyDone):
                self._current.end_copy_in(None, step.end)
            elif isinstance(step.message, m.CopyFail):
                self._current.end_copy_in(step.message.message, step.end)
            else:
                raise ProtocolError("the client did not end its COPY")
            self._queued_size -= step.size
            del self._queue[1]

    def _collect(self, start: Mark, end: Mark) -> Collector:
        """The collector of the query at the head, made when its first message comes."""
        if self._current is None:
            self._current = self._make_collector(self._head(*_ROW_STEPS, m.FunctionCall))
        self._current.mark(start, end)
        return self._current

    def _make_collector(self, step: Step) -> Collector:
        collector = start_collector(step, self._portals)
        for notice in self._notices:
            collector.add_notice(notice)
        self._notices.clear()
        return collector

    def _finish_current(self, problem: str | None = None) -> Exchange:
        if self._current is None:
            raise ProtocolError("an end without a beginning")
        exchange = self._current.make_exchange(problem)
        self._current = None
        return exchange

    # --- answers to the steps -------------------------------------------------------------

    def _on_parse_complete(self, message: object, start: Mark, end: Mark) -> None:
        step = self._head(m.Parse)
        self._queue.popleft()
        self.learner.note(apply_parse(step.message, self._statements))

    def _on_bind_complete(self, message: object, start: Mark, end: Mark) -> None:
        step = self._head(m.Bind)
        self._queue.popleft()
        self.learner.recall(step.message, self._statements)
        apply_bind(step.message, self._statements, self._portals)

    def _on_close_complete(self, message: object, start: Mark, end: Mark) -> None:
        step = self._head(m.Close)
        self._queue.popleft()
        names: dict[str, Any] = self._statements if step.message.kind == "S" else self._portals
        names.pop(step.message.name, None)

    def _on_parameters(self, message: m.ParameterDescription, start: Mark, end: Mark) -> None:
        step = self._head(m.Describe)
        entry = find_statement(step.message.name, self._statements)
        entry.type_oids = list(message.type_oids)
        self.learner.note(entry)

    def _on_row_description(self, message: m.RowDescription, start: Mark, end: Mark) -> None:
        columns = describe_row(message)
        if self._queue and isinstance(self._queue[0].message, m.Describe):
            self._describe(columns, end)
        else:
            self._head(m.Query)
            self._collect(start, end).describe_columns(columns)

    def _on_no_data(self, message: object, start: Mark, end: Mark) -> None:
        self._head(m.Describe)
        self._describe(None, end)

    def _describe(self, columns: list[Document] | None, end: Mark) -> None:
        step = self._queue.popleft()
        if step.message.kind == "S":
            entry = find_statement(step.message.name, self._statements)
            entry.columns = columns
            self.learner.note(entry)
            self._group.append(describe_exchange(step, entry, columns, end))
            return
        portal = find_portal(step.message.name, self._portals)
        portal.describe(columns)
        self.learner.note(portal.statement)
        self._unused.append((step, portal))

    def _on_row(self, message: m.DataRow, start: Mark, end: Mark) -> None:
        self._head(*_ROW_STEPS)
        self._collect(start, end).add_row(message)

    def _on_complete(
        self,
        message: m.CommandComplete | m.EmptyQueryResponse | m.PortalSuspended,
        start: Mark,
        end: Mark,
    ) -> None:
        step = self._head(*_ROW_STEPS)
        collector = self._collect(start, end)
        tag = printable(message.tag) if isinstance(message, m.CommandComplete) else None
        if tag is not None:
            self._note_tag(collector, tag)
        collector.complete(tag, isinstance(message, m.PortalSuspended))
        if isinstance(step.message, m.Execute):
            self._queue.popleft()
            self._note_piece(step.message)
            self._group.append(self._finish_current())

    def _note_piece(self, message: m.Execute) -> None:
        portal = self._portals.get(message.portal)
        if portal is not None:
            portal.pieces += 1

    def _note_tag(self, collector: Collector, tag: str) -> None:
        sql = collector.request.get("sql")
        statements = split_sql(sql) if isinstance(sql, str) and sql else ()
        if collector.done_statements >= len(statements):
            return
        statement = statements[collector.done_statements]
        if self.is_strict and not is_plausible(statement.verb, tag):
            raise ProtocolError("an answer to another statement")
        parameters = collector.request.get("parameters") or ()
        apply_sql(statement, tag, self._statements, self._portals, parameters)

    def _on_copy(self, message: m.CopyResponse, start: Mark, end: Mark) -> None:
        self._head(*_ROW_STEPS)
        self._collect(start, end).start_copy(message)
        self._absorb_copy()

    def _on_copy_data(self, message: m.CopyData, start: Mark, end: Mark) -> None:
        self._collect(start, end).add_copy_out(message.data)

    def _on_copy_done(self, message: object, start: Mark, end: Mark) -> None:
        self._collect(start, end)

    def _on_function(self, message: m.FunctionCallResponse, start: Mark, end: Mark) -> None:
        self._head(m.FunctionCall)
        collector = self._collect(start, end)
        collector.add_row(m.DataRow([message.value]))
        collector.complete("FUNCTION")

    def _on_notice(self, message: m.NoticeResponse) -> None:
        if self._current is None and self._queue:
            self._notices.append(message)
        elif self._current is not None:
            self._current.add_notice(message)

    # --- errors ---------------------------------------------------------------------------

    def _on_error(self, message: m.ErrorResponse, start: Mark, end: Mark) -> None:
        if not self._queue:
            return  # the server says why it is going to close an idle connection
        step = self._queue[0]
        if isinstance(step.message, m.Query | m.FunctionCall):
            self._collect(start, end).fail(message)
        elif isinstance(step.message, m.Sync):
            self._fail_commit(message)
        else:
            is_execute = isinstance(step.message, m.Execute)
            if is_execute:
                self._collect(start, end).fail(message)
                self._group.append(self._finish_current())
                self._queue.popleft()
            self._failure = Failure(message, start, end, is_execute)

    def _fail_commit(self, message: m.ErrorResponse) -> None:
        """The implicit transaction of the group could not be committed at Sync."""
        for exchange in reversed(self._group):
            if exchange.request["kind"] == "query" and exchange.response is not None:
                exchange.response["error"] = report_document(message.fields)
                return

    def _settle_failure(self, failure: Failure, skipped: list[Step]) -> None:
        """Makes the exchange of a Parse, Bind or Describe that failed."""
        self._failure = None
        if failure.is_placed or not skipped:
            return
        statements = ChainMap({}, self._statements)
        portals = ChainMap({}, self._portals)
        entry: PreparedStatement | None = None
        for step in skipped:
            if isinstance(step.message, m.Parse):
                entry = entry or apply_parse(step.message, statements)
            elif isinstance(step.message, m.Bind):
                entry = entry or apply_bind(step.message, statements, portals).statement
                apply_bind(step.message, statements, portals)
            elif isinstance(step.message, m.Execute):
                self._group.append(failed_query(step, skipped[0], portals, failure))
                return
        self._group.append(self._failed_describe(skipped[0], entry, failure))

    def _failed_describe(
        self, step: Step, entry: PreparedStatement | None, failure: Failure
    ) -> Exchange:
        if entry is None and isinstance(step.message, m.Describe):
            is_statement = step.message.kind == "S"
            entry = (
                find_statement(step.message.name, self._statements)
                if is_statement
                else find_portal(step.message.name, self._portals).statement
            )
        exchange = describe_exchange(step, entry or PreparedStatement("", ""), None, failure.end)
        exchange.response = {
            "parameter_types": [],
            "error": report_document(failure.message.fields),
            "notices": [],
            "status": None,
        }
        return exchange

    # --- the end of a group ---------------------------------------------------------------

    def _on_ready(self, message: m.ReadyForQuery) -> list[Exchange]:
        if self.group_ends <= 0:
            raise ProtocolError("a ReadyForQuery that was not asked for")
        if self._failure is not None:
            self._settle_failure(self._failure, self._pop_to_sync())
        elif isinstance(self._head(*_GROUP_ENDS).message, m.Sync):
            self._queue.popleft()
        else:
            step = self._queue.popleft()
            collector = self._current or self._make_collector(step)
            self._current = collector
            if collector.response_start is None:
                raise ProtocolError("a query without an answer")
            self._group.append(self._finish_current())
        self.group_ends -= 1
        self._queued_size = sum(step.size for step in self._queue)
        self._notices.clear()
        return self._close_group(message.status)

    def _pop_skipped(self) -> list[Step]:
        skipped: list[Step] = []
        while self._queue and not isinstance(self._queue[0].message, m.Sync):
            skipped.append(self._queue.popleft())
        return skipped

    def _pop_to_sync(self) -> list[Step]:
        skipped = self._pop_skipped()
        if not self._queue:
            raise ProtocolError("a ReadyForQuery before its Sync")
        self._queue.popleft()
        return skipped

    def _close_group(self, status: str) -> list[Exchange]:
        group = self._take_group()
        for exchange in group:
            if exchange.response is not None:
                exchange.response["status"] = status
        self._blocks.settle(status, [e for e in group if e.request["kind"] == "query"])
        if status == "I":
            self._portals = {n: p for n, p in self._portals.items() if p.bind is None}
        return group

    def _take_group(self) -> list[Exchange]:
        self._add_unused()
        group, self._group = self._group, []
        for exchange in group:
            if exchange.request["kind"] == "query":
                judge_session(exchange)
                self._blocks.place(exchange)
        return group

    def _add_unused(self) -> None:
        """Portals described that this group did not execute."""
        for step, portal in self._unused:
            entry = portal.statement
            if not portal.pieces:
                self._group.append(describe_exchange(step, entry, portal.columns, step.end))
        self._unused.clear()

    def _abandon_steps(self, problem: str) -> list[Exchange]:
        statements = ChainMap({}, self._statements)
        portals = ChainMap({}, self._portals)
        given = []
        for step in self._queue:
            if isinstance(step.message, m.Parse):
                apply_parse(step.message, statements)
            elif isinstance(step.message, m.Bind):
                apply_bind(step.message, statements, portals)
            elif isinstance(step.message, (*_ROW_STEPS, m.FunctionCall)):
                exchange = start_collector(step, portals).make_exchange(problem)
                judge_session(exchange)
                given.append(exchange)
        return given
