"""What kind of statement some SQL is: a session matter or a call, and what it does to a block.

A query is a *session matter*, answered from the responder's own state and never asserted, if
every statement of it is one of

- ``BEGIN``, ``START TRANSACTION``, ``COMMIT``, ``END``, ``ROLLBACK``, ``ABORT`` (not ``…
  PREPARED``), ``SAVEPOINT``, ``RELEASE``;
- ``SET`` of a setting of the server's own (a custom one, ``SET app.tenant = …``, carries the
  program's data and is a call), ``SHOW``, ``RESET``, ``DISCARD``, ``DEALLOCATE``,
  ``UNLISTEN *``, ``CLOSE ALL``;
- ``SELECT`` of nothing but whole numbers, the functions of `_SESSION_FUNCTIONS`, and
  ``current_setting`` and ``set_config`` of a setting of the server's own, without ``FROM``;
- a ``SELECT`` all of whose relations are in `_CATALOGS`, ``pg_type`` among them, which changes
  and locks nothing: a driver's type look-up;

or if there is no statement in it at all.  Whatever is not recognised is a call.
"""

from __future__ import annotations

from functools import lru_cache

from kebpf.protocols.postgres.lexing import (
    Statement,
    Token,
    shape_sql,
    split_statements,
    unquote_name,
)
from kebpf.protocols.postgres.notifying import may_notify

_TRANSACTION_VERBS = frozenset(
    ("begin", "commit", "end", "rollback", "abort", "savepoint", "release", "start")
)
_SETTING_VERBS = frozenset(("set", "show", "reset", "discard", "deallocate", "unlisten", "close"))
_QUERY_VERBS = frozenset(("select", "with"))
_PLAIN_VERBS = frozenset(("select", "insert", "update", "delete"))
_SESSION_FUNCTIONS = frozenset(
    (
        "version",
        "current_schema",
        "current_user",
        "session_user",
        "current_role",
        "user",
        "current_database",
        "current_catalog",
        "pg_backend_pid",
        "pg_is_in_recovery",
        "pg_advisory_unlock_all",
    )
)
# One of these, or a number, is the first word of a session matter's first item.
_FIRST_WORDS = _SESSION_FUNCTIONS | {"pg_catalog", "current_setting", "set_config"}
_CATALOGS = frozenset(
    (
        "pg_type",
        "pg_namespace",
        "pg_range",
        "pg_class",
        "pg_attribute",
        "pg_enum",
        "pg_extension",
        "pg_collation",
    )
)
_CHANGES = frozenset(
    ("insert", "update", "delete", "merge", "into", "share", "nextval", "setval", "set_config")
)
_ENDS_OF_FROM = frozenset(
    ("where", "group", "order", "having", "limit", "offset", "union", "intersect", "except")
)
# Longer SQL is taken for a call without being looked at.
_MAX_SESSION_SQL = 32_768


class _Known:
    """What is known of one query string; each is found when it is first asked for.

    ``template`` is what is known of the same SQL with other numbers: those make no difference.
    """

    __slots__ = ("_is_plain", "_is_session", "_sql", "_statements", "_template")

    def __init__(self, sql: str, template: _Known | None = None) -> None:
        self._sql = sql
        self._template = template
        self._statements: tuple[Statement, ...] | None = None
        self._is_session: bool | None = None
        self._is_plain: bool | None = None

    @property
    def statements(self) -> tuple[Statement, ...]:
        if self._statements is None:
            if self._template is None:
                self._statements = tuple(split_statements(self._sql))
            else:
                alike = self._template.statements
                self._statements = tuple(one.with_numbers_of(self._sql) for one in alike)
        return self._statements

    @property
    def is_session(self) -> bool:
        if self._template is not None:
            return self._template.is_session
        if self._is_session is None:
            self._is_session = all(map(is_session_statement, self.statements))
        return self._is_session

    @property
    def is_plain(self) -> bool:
        if self._template is not None:
            return self._template.is_plain
        if self._is_plain is None:
            verbs = [one.verb for one in self.statements]
            is_usual = len(verbs) == 1 and verbs[0] in _PLAIN_VERBS
            self._is_plain = is_usual and not may_notify(self.statements[0]) and not self.is_session
        return self._is_plain


@lru_cache(maxsize=2048)
def _look_at(sql: str) -> _Known:
    shape = shape_sql(sql)
    return _Known(sql, None if shape is None or shape == sql else _look_at(shape))


def split_sql(sql: str) -> tuple[Statement, ...]:
    """The statements of a query string (of a very long one only itself, unsplit at its end)."""
    if len(sql) <= _MAX_SESSION_SQL:
        return _look_at(sql).statements
    return tuple(split_statements(sql))


def is_session_sql(sql: str) -> bool:
    """Whether the whole query is a session matter (the module's rule)."""
    return len(sql) <= _MAX_SESSION_SQL and _look_at(sql).is_session


def is_plain_sql(sql: str) -> bool:
    """Whether it is one statement and a call, and nothing else of the connection depends on it."""
    return len(sql) <= _MAX_SESSION_SQL and _look_at(sql).is_plain


def is_session_statement(statement: Statement) -> bool:
    """Whether one statement is a session matter."""
    verb, texts = statement.verb, statement.texts()
    if verb in _TRANSACTION_VERBS:
        return is_transaction_statement(statement)
    if verb in _SETTING_VERBS:
        return _is_session_setting(verb, texts)
    if verb in _QUERY_VERBS:
        return (verb == "select" and _is_session_select(statement)) or _is_type_lookup(
            statement.tokens
        )
    return False


def is_transaction_statement(statement: Statement) -> bool:
    """Whether it opens, ends or divides a transaction block."""
    verb, texts = statement.verb, statement.texts()
    if verb == "start":
        return texts[1:2] == ["transaction"]
    return verb in _TRANSACTION_VERBS and texts[1:2] not in (["prepared"], ["atomic"])


def _is_session_setting(verb: str, texts: list[str]) -> bool:
    if verb == "unlisten":
        return texts == ["unlisten", "*"]
    if verb == "close":
        return texts == ["close", "all"]
    if verb == "set":
        start = 2 if texts[1:2] in (["local"], ["session"]) else 1
        return "." not in texts[start + 1 : start + 2]
    return True


def _is_session_select(statement: Statement) -> bool:
    first = statement.tokens[1].text if len(statement.tokens) > 1 else ""
    if first not in _FIRST_WORDS and not first.isdigit():
        return False
    items = read_items(statement)
    return bool(items) and all(_is_session_item(item) for item, _ in items)


def read_items(statement: Statement) -> list[tuple[list[Token], str]]:
    """The tokens of each expression of a ``SELECT``, without ``pg_catalog.``, and its name."""
    items: list[list[Token]] = [[]]
    depth = 0
    for token in statement.tokens[1:]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            items.append([])
        else:
            items[-1].append(token)
    return [_strip_item(item) for item in items]


def _strip_item(item: list[Token]) -> tuple[list[Token], str]:
    texts = [token.text for token in item]
    if texts[:2] == ["pg_catalog", "."]:
        item, texts = item[2:], texts[2:]
    if texts[-2:-1] == ["as"]:
        return item[:-2], unquote_name(item[-1])
    is_named = bool(item) and item[0].kind == "word"
    return item, texts[0] if is_named else "?column?"


def _is_session_item(item: list[Token]) -> bool:
    texts = [token.text for token in item]
    if len(item) == 1:
        return texts[0] in _SESSION_FUNCTIONS or texts[0].isdigit()
    if texts[1:] == ["(", ")"]:
        return texts[0] in _SESSION_FUNCTIONS
    return read_setting_call(item) is not None


def read_setting_call(item: list[Token]) -> tuple[str, str | None] | None:
    """Setting and new value of ``current_setting('x')``, ``set_config('x', v, local)``.

    The value is a string or ``$n`` as it stands in the SQL; custom settings are left alone.
    """
    texts = [token.text for token in item]
    is_setting = len(item) > 2 and item[2].kind == "string" and "." not in texts[2]
    if not is_setting or texts[1] != "(" or texts[-1] != ")":
        return None
    name = texts[2].strip("'")
    if texts[0] == "current_setting" and texts[3:] in ([")"], [",", "true", ")"]):
        return name, None
    is_plain = len(item) == 8 and item[4].kind in ("string", "parameter")
    if texts[0] == "set_config" and is_plain and texts[6] in ("true", "false"):
        return name, texts[4]
    return None


def _is_type_lookup(tokens: tuple[Token, ...]) -> bool:
    texts = {token.text for token in tokens if token.kind in ("word", "quoted")}
    if texts.isdisjoint(("pg_type", '"pg_type"')) or texts & _CHANGES:
        return False
    relations = _relations(tokens)
    return "pg_type" in relations and relations <= _CATALOGS


def _relations(tokens: tuple[Token, ...]) -> set[str]:
    """Names of the relations read, common table expressions left out, in any depth."""
    scan = _RelationScan(tokens)
    return scan.run() - _common_table_names(tokens)


class _RelationScan:
    """Walks over tokens and notes what stands where a relation can stand."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self._is_expected = False
        self._from_depths: set[int] = set()
        self._depth = 0
        self._found: set[str] = set()

    def run(self) -> set[str]:
        for index, token in enumerate(self._tokens):
            if self._is_expected and token.text not in ("only", "lateral"):
                self._take_relation(index, token)
            self._step(token.text if token.kind in ("word", "other") else "")
        return self._found

    def _step(self, text: str) -> None:
        if text == "(":
            self._depth += 1
        elif text == ")":
            self._from_depths.discard(self._depth)
            self._depth -= 1
        elif text in ("from", "join"):
            self._from_depths.add(self._depth)
            self._is_expected = True
        elif text == "," and self._depth in self._from_depths:
            self._is_expected = True
        elif text in _ENDS_OF_FROM:
            self._from_depths.discard(self._depth)

    def _take_relation(self, index: int, token: Token) -> None:
        following = [t.text for t in self._tokens[index + 1 : index + 3]]
        if token.text == "pg_catalog" and following[:1] == ["."]:
            return
        if token.text == "." or (token.text == "from"):
            return
        self._is_expected = False
        is_function = following[:1] == ["("]
        if token.text == "(" or is_function:
            return
        qualified = following[:1] == ["."]
        self._found.add("." if qualified else unquote_name(token))


def _common_table_names(tokens: tuple[Token, ...]) -> set[str]:
    names: set[str] = set()
    for index, token in enumerate(tokens):
        if token.text == "as" and index and _opens_query(tokens, index + 1):
            name = _name_before(tokens, index - 1)
            if name is not None:
                names.add(name)
    return names


def _opens_query(tokens: tuple[Token, ...], index: int) -> bool:
    while index < len(tokens) and tokens[index].text in ("not", "materialized"):
        index += 1
    return index < len(tokens) and tokens[index].text == "("


def _name_before(tokens: tuple[Token, ...], index: int) -> str | None:
    if tokens[index].text == ")":
        while index > 0 and tokens[index].text != "(":
            index -= 1
        index -= 1
    token = tokens[index]
    return unquote_name(token) if token.kind in ("word", "quoted") else None


def is_rollback_to(statement: Statement) -> bool:
    """``ROLLBACK [WORK|TRANSACTION] TO …``."""
    texts = [t for t in statement.texts()[:3] if t not in ("work", "transaction")]
    return texts[:2] == ["rollback", "to"]


def block_effect(statement: Statement | None, tag: str) -> str:
    """What a completed statement did to the transaction block.

    ``open``, ``close``, ``chain`` (closed and opened anew) or nothing; judged by the server's
    tag, and by the SQL only where two statements share one.
    """
    if tag in ("BEGIN", "START TRANSACTION"):
        return "open"
    if tag == "PREPARE TRANSACTION":
        return "close"
    if tag not in ("COMMIT", "ROLLBACK"):
        return ""
    if statement is not None and is_rollback_to(statement):
        return ""
    texts = statement.texts() if statement is not None else []
    chains = texts[-1:] == ["chain"] and texts[-2:-1] != ["no"]
    return "chain" if chains else "close"


def copies_in(statement: Statement) -> bool:
    """``COPY … FROM STDIN``."""
    if statement.verb != "copy":
        return False
    texts = statement.texts()
    return any(texts[i : i + 2] == ["from", "stdin"] for i in range(1, len(texts)))


def is_binary_copy(statement: Statement) -> bool:
    """``COPY … (FORMAT binary)`` in any of its spellings."""
    texts = [t.strip("'\"") for t in statement.texts()]
    return "binary" in texts


def read_cursor(statement: Statement) -> tuple[str, str] | None:
    """Name and query of a ``DECLARE … CURSOR … FOR query``."""
    texts = statement.texts()
    if statement.verb != "declare" or "cursor" not in texts or "for" not in texts:
        return None
    query = statement.tokens[texts.index("for") + 1 :]
    if not query:
        return None
    begin = query[0].start - statement.tokens[0].start
    return unquote_name(statement.tokens[1]), statement.sql[begin:]


def find_cursor_name(statement: Statement) -> Token | None:
    """The name in a ``FETCH``, ``MOVE`` or ``CLOSE`` of one cursor."""
    if statement.verb not in ("fetch", "move", "close") or len(statement.tokens) < 2:
        return None
    name = statement.tokens[-1]
    is_name = name.kind == "quoted" or (name.kind == "word" and name.text != "all")
    return name if is_name else None


def read_cursor_name(sql: str) -> str | None:
    """The cursor that a ``FETCH``, ``MOVE`` or ``CLOSE`` is of."""
    if sql.lstrip()[:5].upper() not in ("FETCH", "MOVE ", "CLOSE"):
        return None
    statements = split_sql(sql)
    name = find_cursor_name(statements[0]) if len(statements) == 1 else None
    return None if name is None else unquote_name(name)


def forget_cursor_name(sql: str) -> str:
    """The SQL of one cursor's statement without the name, which is its connection's own affair."""
    statements = split_sql(sql)
    if len(statements) != 1:
        return sql
    statement = statements[0]
    name = statement.tokens[1] if read_cursor(statement) else find_cursor_name(statement)
    return sql if name is None else f"{sql[: name.start]}cursor{sql[name.end :]}"


def read_prepared(statement: Statement) -> tuple[str, str] | None:
    """Name and query of a ``PREPARE name [(types)] AS query``."""
    texts = statement.texts()
    if statement.verb != "prepare" or "as" not in texts[2:]:
        return None
    query = statement.tokens[texts.index("as", 2) + 1 :]
    if not query:
        return None
    begin = query[0].start - statement.tokens[0].start
    return unquote_name(statement.tokens[1]), statement.sql[begin:]
