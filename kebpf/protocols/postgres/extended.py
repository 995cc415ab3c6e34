"""Serves the extended query protocol: prepared statements, portals, row limits (55.2.3).

What depends on the recording is put off until it must be said: a Parse or a Describe of a portal
that is followed by its Execute is answered from that call, otherwise from a description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.answering import Answers, Description
from kebpf.protocols.postgres.documents import (
    cursor_document,
    decode_parameters,
    make_request,
    printable,
)
from kebpf.protocols.postgres.lexing import tokenize
from kebpf.protocols.postgres.replies import (
    KEPT,
    complete_bytes,
    copy_bytes,
    description_bytes,
    end_bytes,
    error_bytes,
    notice_bytes,
    parameter_bytes,
    row_bytes,
)
from kebpf.protocols.postgres.statements import (
    read_cursor,
    read_cursor_name,
    read_prepared,
    split_sql,
)
from kebpf.protocols.postgres.synthesis import FAILED_BLOCK, SessionError
from kebpf.protocols.postgres.types import Value
from kebpf.protocols.postgres.writer import write

_TEXT_OID = 25
_BIND_COMPLETE = write(m.BindComplete())
_PARSE_COMPLETE = write(m.ParseComplete())


class RecordedError(SessionError):
    """The recording answers with an error; ``fields`` are its own."""

    def __init__(self, fields: Document) -> None:
        super().__init__(str(fields.get("code")), str(fields.get("message")))
        self._fields = fields

    @property
    def is_unforeseen(self) -> bool:
        """Never: a miss is known to the matcher that told of it."""
        return False

    def document(self, severity: str = "ERROR") -> Document:
        return self._fields


@dataclass(slots=True)
class ServedStatement:
    """A statement this client prepared; ``description`` is looked up once."""

    sql: str
    type_oids: list[int]
    description: Description | None = None
    is_looked_up: bool = False


@dataclass(slots=True)
class ServedPortal:
    """A bound statement and what is left of its rows."""

    statement: ServedStatement
    request: Document
    formats: Sequence[int]
    result: Document | None = None
    whole: Document | None = None  # the result as recorded, if it is all there and nothing else
    rows: list[list[Value]] = field(default_factory=list)
    error: Document | None = None
    pieces: int = 0
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class ServedCursor:
    """What a ``DECLARE`` made: the query, its parameters, whether its rows are binary."""

    sql: str
    parameters: Sequence[Value]
    is_binary: bool


class ExtendedQuery:
    """Statements and portals of one connection; its methods give the bytes to send.

    They raise `SessionError` or `RecordedError`, after which the session skips to Sync.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._statements: dict[str, ServedStatement] = {}
        self._portals: dict[str, ServedPortal] = {}
        self._cursors: dict[str, ServedCursor] = {}
        self._parsed: ServedStatement | None = None
        self._to_describe: ServedPortal | None = None

    def parse(self, message: m.Parse) -> bytes:
        out = self.settle()
        if message.name and message.name in self._statements:
            text = f'prepared statement "{message.name}" already exists'
            raise SessionError("42P05", text)
        statements = split_sql(printable(message.sql))
        if len(statements) > 1 and statements[0].verb != "create":  # which may hold a body
            raise SessionError("42601", "cannot insert multiple commands into a prepared statement")
        self._parsed = ServedStatement(printable(message.sql), list(message.type_oids))
        self._statements[message.name] = self._parsed
        return out

    def bind(self, message: m.Bind) -> bytes:
        out = self._confirm_parse()
        statement = self._find_statement(message.statement)
        types = self._types_for(statement, message)
        request = make_request(
            statement.sql,
            "extended",
            parameters=decode_parameters(message, types),
            parameter_types=list(types),
            result_formats=list(message.result_formats),
        )
        self._portals[message.portal] = ServedPortal(statement, request, message.result_formats)
        return out + _BIND_COMPLETE

    def describe(self, message: m.Describe) -> bytes:
        if message.kind == "S":
            return self._describe_statement(self._find_statement(message.name))
        out = self.settle()
        if message.name in self._portals:
            self._to_describe = self._portals[message.name]
            return out
        if message.name not in self._cursors:
            raise SessionError("34000", f'portal "{message.name}" does not exist')
        cursor = self._cursors[message.name]
        description = self._answers.describe(cursor.sql)
        if description is None or description.columns is None:
            raise SessionError("KB001", f"no recorded description of: {cursor.sql[:200]}")
        return out + description_bytes(description.columns, [int(cursor.is_binary)])

    def execute(self, message: m.Execute) -> bytes:
        portal = self.find_portal(message.portal)
        out = self._confirm_parse()
        if self._to_describe is not portal:
            out += self.settle()
        self._fill(portal, message.max_rows)
        return out + self._give(portal, message.max_rows)

    def settle_parse(self) -> bytes:
        """Says what was put off before a COPY begins (which has no columns)."""
        out = self._confirm_parse()
        if self._to_describe is not None:
            self._to_describe = None
            out += write(m.NoData())
        return out

    def find_portal(self, name: str) -> ServedPortal:
        """Raises `SessionError` if there is none."""
        portal = self._portals.get(name)
        if portal is None:
            raise SessionError("34000", f'portal "{name}" does not exist')
        return portal

    def complete_copy(self, portal: ServedPortal, request: Document) -> bytes:
        """The client has sent its COPY data: the answer to ``request``."""
        portal.request = request
        self._fill(portal, 0)
        return self._give(portal, 0)

    def close(self, message: m.Close) -> bytes:
        out = self.settle()
        if message.kind == "S":
            self._statements.pop(message.name, None)
        else:
            self._portals.pop(message.name, None)
        return out + write(m.CloseComplete())

    def forget_statements(self) -> None:
        """Does what DEALLOCATE and DISCARD asked for."""
        if not self._answers.state.statements_to_forget:
            return
        for name in self._answers.state.statements_to_forget:
            if name is None:
                self._statements.clear()
            else:
                self._statements.pop(name, None)
        self._answers.state.statements_to_forget.clear()

    def end_transaction(self) -> None:
        """Portals live as long as their transaction."""
        self._portals.clear()

    def discard_pending(self) -> None:
        """An error came first: what was put off is never said."""
        self._parsed = self._to_describe = None

    def name_cursor(self, request: Document) -> None:
        """Tells in a ``FETCH``, ``MOVE`` or ``CLOSE`` which query's cursor it is of."""
        name = read_cursor_name(str(request["sql"]))
        if name is None:
            return
        if (cursor := self._cursors.get(name)) is not None:
            request["cursor"] = cursor_document(cursor.sql, cursor.parameters)
        elif (portal := self._portals.get(name)) is not None:
            parameters = portal.request["parameters"]
            request["cursor"] = cursor_document(portal.statement.sql, parameters)

    def learn(
        self, sql: str, results: Sequence[Document], parameters: Sequence[Value] = ()
    ) -> None:
        """Notes the names that completed SQL makes (``DECLARE``, ``PREPARE``)."""
        if all(result.get("tag") not in ("DECLARE CURSOR", "PREPARE") for result in results):
            return
        for statement, result in zip(split_sql(sql), results, strict=False):
            tag = result.get("tag")
            if tag == "DECLARE CURSOR" and (cursor := read_cursor(statement)):
                is_binary = "binary" in statement.texts()[: statement.texts().index("cursor")]
                self._cursors[cursor[0]] = ServedCursor(cursor[1], parameters, is_binary)
            elif tag == "PREPARE" and (prepared := read_prepared(statement)):
                self._statements[prepared[0]] = ServedStatement(prepared[1], [])

    def settle(self) -> bytes:
        """Says what was put off and is not followed by an Execute."""
        out = b""
        if self._parsed is not None:
            statement, self._parsed = self._parsed, None
            self._look_up(statement)
            out = _PARSE_COMPLETE
        if self._to_describe is not None:
            portal, self._to_describe = self._to_describe, None
            description = self._look_up(portal.statement)
            columns = description.columns if description is not None else None
            out += description_bytes(columns, portal.formats)
        return out

    # --- parts ----------------------------------------------------------------------------

    def _confirm_parse(self) -> bytes:
        is_waiting, self._parsed = self._parsed is not None, None
        return _PARSE_COMPLETE if is_waiting else b""

    def _find_statement(self, name: str) -> ServedStatement:
        statement = self._statements.get(name)
        if statement is None:
            raise SessionError("26000", f'prepared statement "{name}" does not exist')
        return statement

    def _look_up(self, statement: ServedStatement) -> Description | None:
        """Raises `RecordedError` if preparing this failed when it was recorded."""
        if not statement.is_looked_up:
            statement.description = self._answers.describe(statement.sql)
            statement.is_looked_up = True
            if statement.description is not None:
                self._answers.spend(statement.description)
        description = statement.description
        if description is not None and description.error:
            raise RecordedError(description.error)
        return description

    def _types_for(self, statement: ServedStatement, message: m.Bind) -> list[int]:
        declared = statement.type_oids
        is_complete = len(declared) >= len(message.parameters) and all(declared)
        if is_complete or m.BINARY_FORMAT not in message.parameter_formats:
            return declared
        description = self._look_up(statement)
        recorded = list(description.parameter_types) if description is not None else []
        count = max(len(declared), len(recorded))  # what this client says goes before the rest
        return [_at(declared, place) or _at(recorded, place) for place in range(count)]

    def _describe_statement(self, statement: ServedStatement) -> bytes:
        statements = split_sql(statement.sql)
        if statements and not self._answers.state.can_run(statements[0]):
            raise FAILED_BLOCK
        is_parsing = self._parsed is statement
        out = b"" if is_parsing else self.settle()
        description = self._look_up(statement)
        if is_parsing:
            out += self._confirm_parse()
        recorded = list(description.parameter_types) if description is not None else []
        types = _declared_types(statement, recorded)
        columns = description.columns if description is not None else None
        return out + write(m.ParameterDescription(types)) + description_bytes(columns, [])

    def _fill(self, portal: ServedPortal, wanted: int) -> None:
        """Asks for as many recorded pieces as the rows wanted need."""
        while not portal.is_ended and (not wanted or len(portal.rows) < wanted):
            request = dict(portal.request, max_rows=wanted)
            self.name_cursor(request)
            if portal.pieces:
                request["piece"] = portal.pieces
            response = self._answers.run(request)
            portal.pieces += 1
            self._take_response(portal, response)

    def _take_response(self, portal: ServedPortal, response: Document) -> None:
        results = response.get("results", [])
        portal.error = response.get("error")
        previous = portal.result
        portal.result = {**results[0]} if results else portal.result
        if portal.result is None:
            raise RecordedError(portal.error or {})
        if previous is None:
            portal.result["notices"] = response.get("notices", [])
        portal.result["parameters"] = response.get("parameters") or {}
        portal.rows += results[0]["rows"] if results else []
        portal.is_ended = not (results and results[0].get("suspended"))
        is_all = previous is None and portal.is_ended and len(results) == 1
        has_more = portal.error or response.get("notices") or portal.result["parameters"]
        portal.whole = results[0] if is_all and not has_more else None
        self.learn(portal.statement.sql, results, portal.request["parameters"])

    def _give(self, portal: ServedPortal, wanted: int) -> bytes:
        if portal.whole is not None and not wanted:
            return self._give_whole(portal, portal.whole)
        return self._give_part(portal, wanted)

    def _give_whole(self, portal: ServedPortal, whole: Document) -> bytes:
        form = self._to_describe is portal, tuple(portal.formats)
        known = KEPT.find(whole, form)
        if known is None:
            return KEPT.keep(whole, form, self._give_part(portal, 0))
        self._to_describe = None if form[0] else self._to_describe
        portal.rows, portal.whole = [], None
        return known

    def _give_part(self, portal: ServedPortal, wanted: int) -> bytes:
        portal.whole = None
        result = portal.result or {}
        out = self._describe_result(portal, result)
        out += notice_bytes(result.pop("notices", ()))
        columns, rows = result.get("columns"), portal.rows[: wanted or None]
        portal.rows = portal.rows[len(rows) :]
        if columns is not None:
            out += row_bytes(columns, rows, portal.formats)
        copy = result.get("copy")
        if copy is not None and copy["direction"] == "out":
            out += copy_bytes(copy)
        if columns is not None and wanted and len(rows) >= wanted:
            return out + write(m.PortalSuspended())
        if portal.error:
            return out + self._fail(portal.error)
        return out + parameter_bytes(result["parameters"]) + _end(result, len(rows))

    def _fail(self, error: Document) -> bytes:
        self.discard_pending()
        return error_bytes(error)

    def _describe_result(self, portal: ServedPortal, result: Document) -> bytes:
        if self._to_describe is not portal:
            return b""
        self._to_describe = None
        return description_bytes(result.get("columns"), portal.formats)


def _end(result: Document, row_count: int) -> bytes:
    tag = result.get("tag")
    if tag is None:
        return write(m.EmptyQueryResponse())
    if result.get("columns") is not None and str(tag).startswith("SELECT "):
        return complete_bytes(f"SELECT {row_count}")
    return end_bytes({"tag": tag})


def _at(types: Sequence[int], place: int) -> int:
    return types[place] if place < len(types) else 0


def _declared_types(statement: ServedStatement, recorded: Sequence[int]) -> list[int]:
    """Types as recorded or as the client declared them, text for the rest of the ``$n``."""
    numbers = [int(t.text[1:]) for t in tokenize(statement.sql) if t.kind == "parameter"]
    declared = statement.type_oids
    count = len(recorded) or max([len(declared), *numbers])
    return [_at(recorded, n) or _at(declared, n) or _TEXT_OID for n in range(count)]
