"""Gets the answers of one served connection: from its own state, or from the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Answerer, Document, Miss
from kebpf.protocols.postgres.documents import name_database, new_response, new_result
from kebpf.protocols.postgres.lexing import Statement
from kebpf.protocols.postgres.notifying import may_notify
from kebpf.protocols.postgres.statements import (
    block_effect,
    is_plain_sql,
    is_session_sql,
    is_transaction_statement,
    split_sql,
)
from kebpf.protocols.postgres.synthesis import (
    FAILED_BLOCK,
    MISS_CODE,
    Answered,
    SessionError,
    SessionState,
    find_report,
)


@dataclass(slots=True)
class Description:
    """What the recording knows of some SQL before its parameters are known."""

    columns: list[Document] | None = None
    parameter_types: Sequence[int] = ()
    copy: Document | None = None
    error: Document | None = None
    call: Document | None = None  # that ended with the error, if it was not a description

    @classmethod
    def from_response(cls, response: Document) -> Description:
        """From the response to a describe, or to a query with the same SQL."""
        types = response.get("parameter_types") or ()
        if "results" not in response:
            error, call = response.get("error"), response.get("call")
            return cls(response.get("columns"), types, response.get("copy"), error, call)
        for result in response["results"]:
            return cls(result.get("columns"), types, result.get("copy"))
        return cls(None, types)


def index_descriptions(facts: Sequence[Document]) -> dict[str, Document]:
    """The descriptions among recorded session exchanges, by SQL; those with columns win."""
    found: dict[str, Document] = {}
    for fact in facts:
        request, response = fact["request"], fact.get("response")
        sql = request.get("sql")
        if request.get("kind") not in ("describe", "query") or not response or not sql:
            continue
        if sql not in found or found[sql].get("columns") is None:
            found[sql] = response
    return found


class Answers:
    """The calls and session matters of one connection."""

    def __init__(
        self, answerer: Answerer, state: SessionState, facts: Sequence[Document] = ()
    ) -> None:
        self.state = state
        self._answerer = answerer
        self._descriptions = index_descriptions(facts)
        responses = (fact.get("response") or {} for fact in facts)
        self._reports = [one["error"] for one in responses if one.get("error")]

    def word(self, report: Document) -> Document:
        """A report as the server worded it in a session exchange, if it was recorded."""
        return find_report(report, self._reports)

    def describe(self, sql: str) -> Description | None:
        """What is known of ``sql``; ``None`` for nothing.

        Raises `SessionError` for a session matter that was not recorded and cannot be made up.
        """
        request = name_database({"kind": "describe", "sql": sql}, self.state.database)
        response = self._answerer.session(request)
        if response is None:
            response = self._descriptions.get(sql)
        if response is not None:
            return Description.from_response(response)
        return self._describe_session(sql)

    def spend(self, description: Description) -> None:
        """Uses up the recorded call that failed as its statement was parsed."""
        if description.call is not None:
            self.call(description.call)

    def _describe_session(self, sql: str) -> Description | None:
        statements = split_sql(sql)
        if len(statements) != 1 or not is_session_sql(sql):
            return None
        return Description(self.state.describe(statements[0]))

    def run(self, request: Document) -> Document:
        """The response to a query, and what it does to the connection's state."""
        sql = str(request["sql"])
        if is_plain_sql(sql) and self.state.block.status != "E":
            return self._run_call(request, ())
        statements = split_sql(sql)
        if is_session_sql(sql):
            return self._run_session(request, statements)
        if statements and not self.state.can_run(statements[0]):
            return _failed(FAILED_BLOCK, self._answerer.session(request))
        parts = self._split(request, statements)
        return self._run_parts(parts) if parts else self._run_call(request, statements)

    def _split(self, request: Document, statements: Sequence[Statement]) -> list[Document]:
        """The requests of a query's statements if they were recorded one by one, else none."""
        if len(statements) < 2 or self._can_answer(request):
            return []
        parts = [{**request, "sql": statement.sql} for statement in statements]
        calls = (part for part in parts if not is_session_sql(part["sql"]))
        return parts if all(map(self._can_answer, calls)) else []

    def _can_answer(self, request: Document) -> bool:
        return self._answerer.peek(name_database(request, self.state.database))

    def _run_parts(self, parts: Sequence[Document]) -> Document:
        """The responses of statements in one, up to the first that fails."""
        whole = new_response()
        whole["parameters"] = {}
        for part in parts:
            response = self.run(part)
            whole["results"] += response.get("results", ())
            whole["notices"] += response.get("notices", ())
            whole["parameters"].update(response.get("parameters") or {})
            if response.get("error"):
                whole["error"] = response["error"]
                break
        return whole

    def call(self, request: Document) -> Document:
        """The recorded response to a call, a miss as an error."""
        answer = self._answerer.answer(name_database(request, self.state.database))
        if isinstance(answer, Miss):
            return _failed(SessionError(MISS_CODE, answer.reason))
        return answer

    def _run_call(self, request: Document, statements: Sequence[Statement]) -> Document:
        response = self.call(request)
        parameters = dict(response.get("parameters") or {})
        if parameters:
            self.state.settings.adopt(parameters)
        for index, result in enumerate(response.get("results", ())):
            statement = statements[index] if index < len(statements) else None
            effect = block_effect(statement, result.get("tag") or "")
            if effect:
                parameters.update(self.state.take_tag(effect))
            if statement is not None and may_notify(statement):
                self.state.notifications.note(statement, request.get("parameters") or ())
        if response.get("error"):
            self.state.failure = response["error"]
            self.state.block.fail()
        return {**response, "parameters": parameters} if parameters else response

    def _run_session(self, request: Document, statements: Sequence[Statement]) -> Document:
        recorded = self._answerer.session(request) or {}
        response = new_response()
        response["parameters"] = {}
        if not statements:
            response["results"].append(new_result())
        for index, statement in enumerate(statements):
            try:
                answered = self._run_statement(statement, recorded, index, request)
            except SessionError as error:
                self.state.block.fail()
                response["error"] = find_report(error.document(), [recorded.get("error")])
                break
            response["results"].append(answered.result)
            known = recorded.get("notices") or []
            response["notices"] += [find_report(one, known) for one in answered.notices]
            response["parameters"].update(answered.parameters)
        return response

    def _run_statement(
        self, statement: Statement, recorded: Document, index: int, request: Document
    ) -> Answered:
        results = recorded.get("results", [])
        error = recorded.get("error")
        code = str(error.get("code")) if error else ""
        is_refused = bool(code) and index >= len(results) and code != FAILED_BLOCK.code
        if is_refused and not is_transaction_statement(statement):
            raise SessionError(code, str((error or {}).get("message")))
        result = results[index] if index < len(results) else None
        answered = self.state.answer(statement, result, request.get("parameters") or ())
        if statement.verb == "set" and recorded.get("parameters"):
            answered.parameters = self.state.settings.adopt(dict(recorded["parameters"]))
        return answered

    def tell(self, request: Document) -> Document | None:
        """Tells of a session call that needs no answer."""
        return self._answerer.session(request)


def _failed(error: SessionError, recorded: Document | None = None) -> Document:
    response = new_response()
    response["error"] = find_report(error.document(), [(recorded or {}).get("error")])
    return response
