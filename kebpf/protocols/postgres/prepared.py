"""Prepared statements and portals of a connection that is being watched."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import (
    cursor_document,
    decode_parameters,
    make_request,
    printable,
    spread_formats,
)
from kebpf.protocols.postgres.lexing import Statement
from kebpf.protocols.postgres.statements import read_cursor, read_cursor_name, read_prepared
from kebpf.protocols.postgres.types import Value

# Names kept a connection; the oldest are forgotten first.
MAX_NAMES = 10_000


@dataclass(slots=True)
class PreparedStatement:
    """``sql`` is ``None`` if it was prepared before anything was seen."""

    name: str
    sql: str | None
    type_oids: list[int] = field(default_factory=list)
    columns: list[Document] | None = None

    @property
    def problem(self) -> str | None:
        if self.sql is not None:
            return None
        return f'statement "{self.name}" was prepared before the recording began'


@dataclass(slots=True)
class Portal:
    """A statement with its parameters; ``pieces`` counts its executions."""

    statement: PreparedStatement
    bind: m.Bind | None
    columns: list[Document] | None = None
    is_described: bool = False
    pieces: int = 0
    parameters: list[Value] = field(default_factory=list)  # of the DECLARE that made it

    def describe(self, columns: list[Document] | None) -> None:
        """The server said what its rows are, and so those of later portals of its statement."""
        self.columns, self.is_described = columns, True
        if columns is not None:
            self.statement.columns = [{**c, "format": m.TEXT_FORMAT} for c in columns]

    def result_columns(self) -> list[Document] | None:
        """The columns as its rows are formatted, ``None`` for none or not known."""
        if self.is_described or self.bind is None:
            return self.columns
        columns = self.statement.columns
        if columns is None:
            return None
        formats = spread_formats(self.bind.result_formats, len(columns))
        return [{**c, "format": f} for c, f in zip(columns, formats, strict=True)]

    def make_request(self, max_rows: int) -> Document:
        """The document of an Execute of this portal."""
        request = make_request(self.statement.sql, "extended", max_rows=max_rows)
        if self.statement.sql is None:
            request["statement"] = self.statement.name
        if self.bind is not None:
            type_oids = self.statement.type_oids
            request["parameters"] = decode_parameters(self.bind, type_oids)
            request["parameter_types"] = list(type_oids)
            request["result_formats"] = list(self.bind.result_formats)
        if self.pieces:
            request["piece"] = self.pieces
        return request


Statements = MutableMapping[str, PreparedStatement]
Portals = MutableMapping[str, Portal]


def remember(names: MutableMapping[str, PreparedStatement], entry: PreparedStatement) -> None:
    """Keeps a statement under its name, within `MAX_NAMES`."""
    names.pop(entry.name, None)
    if len(names) >= MAX_NAMES:
        del names[next(iter(names))]
    names[entry.name] = entry


def apply_parse(message: m.Parse, statements: Statements) -> PreparedStatement:
    """What a completed Parse does.

    Of the same SQL under the same name, as pgx and asyncpg parse it a second time, it is known
    what the server said of it.
    """
    entry = PreparedStatement(message.name, printable(message.sql), list(message.type_oids))
    last = statements.get(message.name)
    if last is not None and last.sql == entry.sql and not any(entry.type_oids):
        entry.type_oids, entry.columns = list(last.type_oids), last.columns
    remember(statements, entry)
    return entry


def find_statement(name: str, statements: Statements) -> PreparedStatement:
    """The statement of that name, or one whose SQL is not known."""
    return statements.get(name) or PreparedStatement(name, None)


def apply_bind(message: m.Bind, statements: Statements, portals: Portals) -> Portal:
    """What a completed Bind does."""
    portal = Portal(find_statement(message.statement, statements), message)
    portals[message.portal] = portal
    return portal


def name_cursor(request: Document, portals: Portals) -> None:
    """Tells in a ``FETCH``, ``MOVE`` or ``CLOSE`` which query's cursor it is of, if it is known."""
    sql = request.get("sql")
    if not isinstance(sql, str) or not (name := read_cursor_name(sql)):
        return
    portal = portals.get(name)
    if portal is None or portal.statement.sql is None:
        return
    parameters = portal.parameters
    if portal.bind is not None:
        parameters = decode_parameters(portal.bind, portal.statement.type_oids)
    request["cursor"] = cursor_document(portal.statement.sql, parameters)


def find_portal(name: str, portals: Portals) -> Portal:
    """The portal of that name, or one of which nothing is known."""
    return portals.get(name) or Portal(PreparedStatement(name, None), None)


def apply_sql(
    statement: Statement,
    tag: str,
    statements: Statements,
    portals: Portals,
    parameters: Sequence[Value] = (),
) -> None:
    """Names that SQL itself makes: ``DECLARE … CURSOR`` and ``PREPARE``."""
    if tag == "DECLARE CURSOR" and (cursor := read_cursor(statement)):
        name, query = cursor
        made = Portal(PreparedStatement(name, query), None, parameters=list(parameters))
        portals[name] = made
    elif tag == "PREPARE" and (prepared := read_prepared(statement)):
        name, query = prepared
        remember(statements, PreparedStatement(name, query))
