"""Exchanges and collectors made from the client's steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.collecting import Collector
from kebpf.protocols.postgres.documents import make_request, printable
from kebpf.protocols.postgres.prepared import Portal, PreparedStatement, find_portal, name_cursor

_DATA_VERBS = frozenset(("select", "insert", "update", "delete"))


@dataclass(slots=True)
class Step:
    """One client message of ``size`` bytes; ``problem`` if bytes of it are missing."""

    message: Any
    start: Mark
    end: Mark
    problem: str | None = None
    size: int = 0


@dataclass(slots=True)
class Failure:
    """An error in the extended protocol: the server skips to Sync."""

    message: m.ErrorResponse
    start: Mark
    end: Mark
    is_placed: bool


def start_collector(step: Step, portals: Any) -> Collector:
    message = step.message
    if isinstance(message, m.Execute):
        collector = _start_execute(step, message, find_portal(message.portal, portals))
        name_cursor(collector.request, portals)
        return collector
    if isinstance(message, m.FunctionCall):
        request = {
            "kind": "function",
            "oid": message.oid,
            "arguments": list(message.arguments),
            "argument_formats": list(message.argument_formats),
            "result_format": message.result_format,
        }
    else:
        sql = None if step.problem else printable(message.sql)
        request = make_request(sql)
    name_cursor(request, portals)
    collector = Collector(request, step.start, step.end)
    collector.problem = step.problem
    if isinstance(message, m.FunctionCall):
        collector.formats = [message.result_format]
    return collector


def _start_execute(step: Step, message: m.Execute, portal: Portal) -> Collector:
    collector = Collector(portal.make_request(message.max_rows), step.start, step.end)
    collector.problem = step.problem or portal.statement.problem
    collector.response["parameter_types"] = list(portal.statement.type_oids)
    collector.formats = list(portal.bind.result_formats) if portal.bind else []
    collector.sequel = portal.pieces > 0
    columns = portal.result_columns()
    if columns is not None:
        collector.describe_columns(columns)
    return collector


def failed_query(step: Step, first: Step, portals: Any, failure: Failure) -> Exchange:
    collector = start_collector(step, portals)
    collector.request_start = first.start
    collector.mark(failure.start, failure.end)
    collector.fail(failure.message)
    collector.response["results"].clear()
    return collector.make_exchange()


def describe_exchange(
    step: Step, entry: PreparedStatement, columns: list[Document] | None, end: Mark
) -> Exchange:
    return Exchange(
        protocol="postgres",
        request={"kind": "describe", "sql": entry.sql},
        response={
            "columns": columns,
            "parameter_types": list(entry.type_oids),
            "error": None,
            "notices": [],
            "status": None,
        },
        request_start=step.start,
        request_end=step.end,
        response_start=end,
        response_end=end,
        is_session=True,
        problem=entry.problem,
        calls=0,
    )


def notification_exchange(message: m.NotificationResponse, start: Mark, end: Mark) -> Exchange:
    """A NOTIFY that reached the client: a fact about the connection, answered by nothing."""
    return Exchange(
        protocol="postgres",
        request={
            "kind": "notification",
            "channel": printable(message.channel),
            "payload": printable(message.payload),
        },
        response=None,
        request_start=start,
        request_end=end,
        is_session=True,
        calls=0,
    )


def is_plausible(verb: str, tag: str) -> bool:
    """Whether a statement can have ended with the tag, as far as the verb decides that."""
    return verb not in _DATA_VERBS or tag.lower().startswith(verb)
