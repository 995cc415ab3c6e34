"""What the connections to one server tell each other of statements prepared before they were seen.

Only of names that say what they stand for: a digest of the SQL (pgx's ``stmtcache_…``) or one the
program gave.  A driver's counter (``_pg3_0``, ``__asyncpg_stmt_1__``, ``S_1``) stands for another
statement on every connection, so it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.prepared import MAX_NAMES, PreparedStatement, Statements, remember

MIN_DIGEST_SIZE = 16  # hexadecimal digits

_WORD = re.compile(r"[0-9A-Za-z]+")
_COUNTER = re.compile(r".*[0-9]|(0x)?[0-9a-f]*", re.IGNORECASE)  # "s12", or maybe hexadecimal
_DIGEST = re.compile(rf"[0-9a-f]{{{MIN_DIGEST_SIZE},}}", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\$([0-9]+)")


def is_telling(name: str) -> bool:
    """Whether a name cannot be a counter: its last word is a digest, or ends like a word.

    A digest of nothing but zeros and few digits is a counter with leading zeros.
    """
    words = _WORD.findall(name)
    if not words:
        return False
    if _DIGEST.fullmatch(words[-1]):
        return len(set(words[-1].lower())) > MIN_DIGEST_SIZE // 4
    return _COUNTER.fullmatch(words[-1]) is None


class Lore:
    """The statements seen being prepared on any connection to one server, by name."""

    def __init__(self) -> None:
        self._known: dict[str, PreparedStatement | None] = {}  # `None`: not always the same

    def note(self, entry: PreparedStatement) -> None:
        """Takes a statement that was prepared; what its name stood for before must be the same."""
        if not is_telling(entry.name) or entry.sql is None:
            return
        if entry.name not in self._known:
            if len(self._known) < MAX_NAMES:
                self._known[entry.name] = replace(entry)
            return
        known = self._known[entry.name]
        self._known[entry.name] = None if known is None else _merge(known, entry)

    def find(self, name: str, parameters: Sequence[object]) -> PreparedStatement | None:
        """The statement of that name, if all connections agree and the parameters fit."""
        known = self._known.get(name)
        if known is None or known.sql is None:
            return None
        numbers = [int(number) for number in _PLACEHOLDER.findall(known.sql)]
        is_fitting = max(numbers, default=0) == len(parameters)
        if not is_fitting or (known.type_oids and len(known.type_oids) != len(parameters)):
            return None
        return PreparedStatement(name, known.sql, list(known.type_oids), known.columns)


class Learner:
    """What one connection learns and tells; ``lore`` is shared by who watches the connections."""

    def __init__(self) -> None:
        self.lore = Lore()
        self._touched: set[str] = set()  # names prepared or closed here
        self._learned: set[str] = set()
        self._may_learn = True

    def stop(self) -> None:
        """Bytes of the client were lost: any name may have been prepared anew in them."""
        self._may_learn = False

    def note(self, entry: PreparedStatement) -> None:
        """A statement was prepared here, or described."""
        if entry.name not in self._learned:
            self.lore.note(entry)

    def touch(self, name: str, statements: Statements) -> None:
        """The client says itself what the name stands for: no other connection does any more."""
        self._unlearn(name, statements)
        if len(self._touched) < MAX_NAMES:
            self._touched.add(name)
        elif name not in self._touched:
            self._may_learn = False

    def recall(self, message: m.Bind, statements: Statements) -> None:
        """Puts a statement prepared before among the known, as long as all connections agree."""
        name = message.statement
        self._unlearn(name, statements)
        if name in statements or name in self._touched or not self._may_learn:
            return
        entry = self.lore.find(name, message.parameters)
        if entry is not None:
            remember(statements, entry)
            self._learned.add(name)

    def _unlearn(self, name: str, statements: Statements) -> None:
        if name in self._learned:
            self._learned.discard(name)
            statements.pop(name, None)


def _merge(one: PreparedStatement, other: PreparedStatement) -> PreparedStatement | None:
    """What both say of a name, each as far as it knows; ``None`` if they disagree."""
    types = one.type_oids or other.type_oids
    columns = one.columns if other.columns is None else other.columns
    merged = PreparedStatement(one.name, one.sql, list(types), columns)
    for each in (one, other):
        same_types = not each.type_oids or each.type_oids == merged.type_oids
        same_columns = each.columns is None or each.columns == merged.columns
        if each.sql != merged.sql or not same_types or not same_columns:
            return None
    return merged
