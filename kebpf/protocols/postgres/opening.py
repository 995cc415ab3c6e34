"""Follows a connection's start-up: encryption requests, authentication, parameters (55.2.1).

Nothing of passwords, SASL messages or keys is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.protocols.base import Document, Exchange, Mark, ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import printable, report_document

_METHODS = {
    0: "trust",
    2: "kerberos",
    3: "password",
    5: "md5",
    7: "gss",
    9: "sspi",
    10: "scram-sha-256",
}
_OWN_OPTIONS = ("user", "database")


def startup_request(parameters: Sequence[tuple[str, str]]) -> Document:
    """The document of a StartupMessage."""
    values = {printable(name): printable(value) for name, value in parameters}
    user = values.get("user", "")
    options = {name: value for name, value in values.items() if name not in _OWN_OPTIONS}
    return {
        "kind": "startup",
        "user": user,
        "database": values.get("database", user),
        "options": options,
    }


def cancel_exchange(message: m.CancelRequest, start: Mark, end: Mark) -> Exchange:
    """A cancel request: the server answers by closing; its secret key is not kept."""
    return Exchange(
        protocol="postgres",
        request={"kind": "cancel", "process_id": message.process_id},
        response={"results": [], "error": None},
        request_start=start,
        request_end=end,
        response_start=end,
        response_end=end,
        is_session=True,
        calls=0,
    )


class Opening:
    """The start-up of one connection, from its StartupMessage to the first ReadyForQuery."""

    def __init__(self, message: m.StartupMessage, start: Mark, end: Mark) -> None:
        self._response: Document = {
            "parameters": {},
            "authentication": "trust",
            "error": None,
            "notices": [],
            "status": None,
        }
        self._exchange = Exchange(
            protocol="postgres",
            request=startup_request(message.parameters),
            response=None,
            request_start=start,
            request_end=end,
            is_session=True,
            calls=0,
        )

    @property
    def database(self) -> str:
        """The database that the client asked for, by default that of the user's name."""
        return str(self._exchange.request["database"])

    def on_backend(self, message: m.BackendMessage, start: Mark, end: Mark) -> Exchange | None:
        """The server's next message; the exchange when it is the last.  Raises `ProtocolError`."""
        exchange, response = self._exchange, self._response
        exchange.response = response
        exchange.response_start = exchange.response_start or start
        exchange.response_end = end
        if isinstance(message, m.ErrorResponse):
            response["error"] = report_document(message.fields)
            return exchange
        if isinstance(message, m.ReadyForQuery):
            response["status"] = message.status
            return exchange
        self._note(message)
        return None

    def _note(self, message: m.BackendMessage) -> None:
        if isinstance(message, m.Authentication):
            if message.code in _METHODS and message.code != 0:
                self._response["authentication"] = _METHODS[message.code]
        elif isinstance(message, m.ParameterStatus):
            self._response["parameters"][printable(message.name)] = printable(message.value)
        elif isinstance(message, m.BackendKeyData):
            self._response["process_id"] = message.process_id  # which cancel requests name
        elif isinstance(message, m.NoticeResponse):
            self._response["notices"].append(report_document(message.fields))
        elif not isinstance(message, m.NegotiateProtocolVersion):
            raise ProtocolError(f"a {type(message).__name__} during start-up")

    def abandon(self, problem: str) -> Exchange:
        """The exchange as far as it came."""
        self._exchange.problem = problem
        return self._exchange
