"""Answers session matters from the connection's own state, or says that it cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import column_document, new_result
from kebpf.protocols.postgres.lexing import Statement, Token, unquote_name
from kebpf.protocols.postgres.notifying import Notifications
from kebpf.protocols.postgres.settings import Block, Settings, read_setting
from kebpf.protocols.postgres.statements import (
    is_rollback_to,
    is_transaction_statement,
    read_items,
    read_setting_call,
)

MISS_CODE = "KB001"
UNCONVERTIBLE_CODE = "KB002"  # a recorded value is not known in the form that was asked for

# Parameters a session statement is described with before it is bound.
_MAX_DESCRIBED = 16
# Name, type OID, type size and value of one column of one row.
_Cell = tuple[str, int, int, str]


class SessionError(Exception):
    """What the client must be told in an ErrorResponse."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_unforeseen(self) -> bool:
        """Whether neither the recording nor a server would have said it."""
        return self.code in (MISS_CODE, UNCONVERTIBLE_CODE)

    def document(self, severity: str = "ERROR") -> Document:
        """The fields of the ErrorResponse."""
        return make_report(self.code, str(self), severity)


def make_report(code: str, message: str, severity: str = "ERROR") -> Document:
    """The fields of an ErrorResponse or NoticeResponse."""
    return {
        "severity": severity,
        "severity_nonlocalized": severity,
        "code": code,
        "message": message,
    }


def find_report(made: Document, recorded: Sequence[Document | None]) -> Document:
    """A report as the server worded it, where it was recorded; else as it was ``made``.

    The server's also tells the place in its source.
    """
    same = (one for one in recorded if one is not None and one.get("code") == made["code"])
    return next((one for one in same if one.get("message") == made["message"]), made)


FAILED_BLOCK = SessionError(
    "25P02", "current transaction is aborted, commands ignored until end of transaction block"
)


class Answered:
    """What a session statement gives: a result, notices, settings to report."""

    def __init__(self, tag: str = "") -> None:
        self.result = new_result()
        self.result["tag"] = tag
        self.notices: list[Document] = []
        self.parameters: dict[str, str] = {}


class SessionState:
    """The state machine behind the session matters of one connection."""

    def __init__(self, settings: Settings, user: str, database: str) -> None:
        self.settings = settings
        self.block = Block()
        self.notifications = Notifications()
        self.failure: Document | None = None  # with which a recorded call ended
        self.problems: list[str] = []  # what was refused though the recording was not asked
        self._user = user
        self.database = database
        self.statements_to_forget: list[str | None] = []  # ``None``: all
        self._verbs: dict[str, Callable[[Statement], Answered]] = {
            "begin": self._begin,
            "start": self._begin,
            "commit": self._commit,
            "end": self._commit,
            "rollback": self._roll_back,
            "abort": self._roll_back,
            "savepoint": self._save,
            "release": self._release,
            "set": self._set,
            "reset": self._reset,
            "discard": self._discard,
            "deallocate": self._deallocate,
            "unlisten": self._unlisten,
            "close": lambda s: Answered("CLOSE CURSOR ALL"),
        }

    def note_refusal(self, error: SessionError) -> None:
        """Tells of an error to who asks for it, unless it is recorded or a server's own."""
        if error.is_unforeseen:
            self.problems.append(str(error))

    def can_run(self, statement: Statement) -> bool:
        """Whether a statement runs in the present state of the block."""
        if self.block.status != "E":
            return True
        return is_transaction_statement(statement) and statement.verb in (
            "commit",
            "end",
            "rollback",
            "abort",
        )

    def answer(
        self,
        statement: Statement,
        recorded: Document | None,
        parameters: Sequence[object] = (),
    ) -> Answered:
        """Runs one session statement; ``recorded`` is its recorded result, if there is one.

        Raises `SessionError`.
        """
        if not self.can_run(statement):
            raise FAILED_BLOCK
        run = self._verbs.get(statement.verb)
        if run is not None:
            return run(statement)
        return self._read(statement, recorded, parameters)

    def describe(self, statement: Statement) -> list[Document] | None:
        """The columns a session statement has, without running it.  Raises `SessionError`."""
        if statement.verb not in ("select", "show"):
            return None
        settings, self.settings = self.settings, copy.deepcopy(self.settings)
        try:
            answered = self.answer(statement, None, [""] * _MAX_DESCRIBED)
        finally:
            self.settings = settings
        columns: list[Document] | None = answered.result["columns"]
        return columns

    def take_tag(self, effect: str) -> dict[str, str]:
        """Follows a block statement that was answered as part of a recorded query."""
        if effect == "open":
            self._open()
            return {}
        if effect in ("close", "chain"):
            reported = self.settings.end(True)
            self.block.close()
            if effect == "chain":
                self._open()
            return reported
        return {}

    def _open(self) -> None:
        if self.block.status == "I":
            self.block.open()
            self.settings.begin()

    def _begin(self, statement: Statement) -> Answered:
        answered = Answered("START TRANSACTION" if statement.verb == "start" else "BEGIN")
        if self.block.status == "T":
            text = "there is already a transaction in progress"
            answered.notices.append(make_report("25001", text, "WARNING"))
        self._open()
        return answered

    def _commit(self, statement: Statement) -> Answered:
        return self._end(statement, is_committed=self.block.status != "E")

    def _roll_back(self, statement: Statement) -> Answered:
        if is_rollback_to(statement):
            return self._roll_back_to(statement)
        return self._end(statement, is_committed=False)

    def _end(self, statement: Statement, is_committed: bool) -> Answered:
        verb_commits = statement.verb in ("commit", "end")
        if self.block.status == "I":
            answered = Answered("COMMIT" if verb_commits else "ROLLBACK")
            text = "there is no transaction in progress"
            answered.notices.append(make_report("25P01", text, "WARNING"))
            return answered
        answered = Answered("COMMIT" if is_committed else "ROLLBACK")
        if not is_committed:
            self.notifications.roll_back()
        answered.parameters = self.settings.end(is_committed)
        self.block.close()
        if statement.texts()[-1:] == ["chain"] and statement.texts()[-2] != "no":
            self._open()
        return answered

    def _roll_back_to(self, statement: Statement) -> Answered:
        self._need_block("ROLLBACK TO SAVEPOINT")
        name = unquote_name(statement.tokens[-1])
        if not self.block.roll_back_to(name):
            raise _no_savepoint(name)
        return Answered("ROLLBACK")

    def _save(self, statement: Statement) -> Answered:
        self._need_block("SAVEPOINT")
        self.block.save(unquote_name(statement.tokens[-1]))
        return Answered("SAVEPOINT")

    def _release(self, statement: Statement) -> Answered:
        self._need_block("RELEASE SAVEPOINT")
        name = unquote_name(statement.tokens[-1])
        if not self.block.release(name):
            raise _no_savepoint(name)
        return Answered("RELEASE")

    def _need_block(self, command: str) -> None:
        if self.block.status == "I":
            raise SessionError("25P01", f"{command} can only be used in transaction blocks")

    def _set(self, statement: Statement) -> Answered:
        is_constraints = statement.texts()[1:2] == ["constraints"]
        answered = Answered("SET CONSTRAINTS" if is_constraints else "SET")
        answered.parameters = self.settings.apply(statement, self.block.status != "I")
        return answered

    def _reset(self, statement: Statement) -> Answered:
        answered = Answered("RESET")
        if read_setting(statement) is not None and statement.texts()[1] != "all":
            answered.parameters = self.settings.apply(statement, self.block.status != "I")
        else:
            answered.parameters = self.settings.reset()
        return answered

    def _discard(self, statement: Statement) -> Answered:
        what = statement.texts()[-1]
        answered = Answered(f"DISCARD {what.upper()}")
        if what == "all":
            if self.block.status != "I":
                raise SessionError("25001", "DISCARD ALL cannot run inside a transaction block")
            self.statements_to_forget.append(None)
            self.notifications.unlisten(statement)
            answered.parameters = self.settings.reset()
        return answered

    def _unlisten(self, statement: Statement) -> Answered:
        self.notifications.unlisten(statement)
        return Answered("UNLISTEN")

    def _deallocate(self, statement: Statement) -> Answered:
        token = statement.tokens[-1]
        is_all = token.text == "all"
        self.statements_to_forget.append(None if is_all else unquote_name(token))
        return Answered("DEALLOCATE ALL" if is_all else "DEALLOCATE")

    # --- statements that return rows ------------------------------------------------------

    def _read(
        self, statement: Statement, recorded: Document | None, parameters: Sequence[object]
    ) -> Answered:
        shown = self._show(statement, recorded) if statement.verb == "show" else None
        computed = self._compute(statement, parameters)
        answered = computed or Answered()
        known = shown or recorded or (computed.result if computed is not None else None)
        if known is None:
            raise SessionError(MISS_CODE, f"no recorded answer to: {statement.sql[:200]}")
        answered.result = known
        return answered

    def _show(self, statement: Statement, recorded: Document | None) -> Document | None:
        texts = statement.texts()[1:]
        name = {
            ("transaction", "isolation", "level"): "transaction_isolation",
            ("time", "zone"): "TimeZone",
            ("session", "authorization"): "session_authorization",
        }.get(tuple(texts), "".join(texts))
        value = self.settings.get(name)
        if value is None or (recorded is not None and not self.settings.was_set(name)):
            return None
        return _one_row([(self.settings.spell(name), 25, -1, value)], "SHOW")

    def _compute(self, statement: Statement, parameters: Sequence[object]) -> Answered | None:
        if statement.verb != "select":
            return None
        answered = Answered()
        cells: list[_Cell | None] = []
        for item, alias in read_items(statement):
            cell = self._compute_item(item, parameters, answered)
            cells.append((alias, *cell) if cell is not None else None)
        known = [cell for cell in cells if cell is not None]
        answered.result = _one_row(known, "SELECT 1")
        return answered if len(known) == len(cells) else None

    def _compute_item(
        self, item: list[Token], parameters: Sequence[object], answered: Answered
    ) -> tuple[int, int, str] | None:
        name = item[0].text if item else ""
        if name.isdigit() and int(name) < 2**31:
            return 23, 4, str(int(name))
        if name in ("current_user", "session_user", "user", "current_role"):
            return 19, 64, self.settings.values.get("session_authorization") or self._user
        if name in ("current_database", "current_catalog"):
            return 19, 64, self.database
        if name == "pg_advisory_unlock_all":
            return 2278, 4, ""
        value = self._compute_setting(item, parameters, answered)
        return None if value is None else (25, -1, value)

    def _compute_setting(
        self, item: list[Token], parameters: Sequence[object], answered: Answered
    ) -> str | None:
        call = read_setting_call(item)
        if call is None:
            return None
        name, new = call
        if new is None:
            return self.settings.get(name)
        value = _argument(new, parameters)
        if value is not None:
            is_local = item[6].text == "true"
            change = self.settings.change(name, value, is_local, self.block.status != "I")
            answered.parameters.update(change)
        return value


def _argument(text: str, parameters: Sequence[object]) -> str | None:
    """A string or ``$n`` of the SQL."""
    if not text.startswith("$"):
        return text[1:-1].replace("''", "'")
    index = int(text[1:]) - 1
    value = parameters[index] if index < len(parameters) else None
    return value if isinstance(value, str) else None


def _no_savepoint(name: str) -> SessionError:
    return SessionError("3B001", f'savepoint "{name}" does not exist')


def _one_row(cells: list[_Cell], tag: str) -> Document:
    result = new_result()
    result["columns"] = [
        column_document(m.Column(name, 0, 0, oid, size, -1, m.TEXT_FORMAT))
        for name, oid, size, _ in cells
    ]
    result["rows"] = [[value for *_, value in cells]]
    result["tag"] = tag
    return result
