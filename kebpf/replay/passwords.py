"""Finds what an application's clients of PostgreSQL log in with, where they insist on it.

Passwords are looked for where the application itself has them, and kept in memory only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from kebpf.protocols.postgres.scram import Login
from kebpf.replay.appfiles import list_texts
from kebpf.replay.truststores import Program

MOST_PASSWORDS = 32
_REQUIRES = r"require_?auth\W{1,4}[\w,!-]*scram"
_INSISTS = re.compile(rf"channel[_-]?binding\W{{1,4}}require|{_REQUIRES}", re.IGNORECASE)
_INSISTS_IN_THE_CLEAR = re.compile(_REQUIRES, re.IGNORECASE)
_IN_URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://[^:/@\s]*:([^@/\s]+)@")
_IN_PAIR = re.compile(r"""\bpassword["']?\s*[=:]\s*["']?([^\s"',;&)}]+)""", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")


def find_login(program: Program) -> Login:
    """All passwords that may be meant, and whether any client insists on being asked for one."""
    environment = program.environment
    texts = [*program.words, *environment.values()]
    sources = list(list_texts(program.folder))
    # what the program is told; of what stands in its sources, much is of other programs
    in_the_clear = "scram" in environment.get("PGREQUIREAUTH", "") or any(
        _INSISTS_IN_THE_CLEAR.search(text) for text in texts
    )
    is_insisting = (
        in_the_clear
        or environment.get("PGCHANNELBINDING") == "require"
        or any(_INSISTS.search(text) for text in (*texts, *sources))
    )
    if not is_insisting:
        return Login()
    given = [environment["PGPASSWORD"]] if environment.get("PGPASSWORD") else []
    found = (*given, *_read_pgpass(program), *_search([*texts, *sources]))
    passwords = list(dict.fromkeys(found))[:MOST_PASSWORDS]
    return Login(passwords, is_insisting=True, in_the_clear=in_the_clear)


def _search(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from map(unquote, _IN_URL.findall(text))
        yield from _IN_PAIR.findall(text)


def _read_pgpass(program: Program) -> Iterator[str]:
    """The last field of each line (libpq, 34.16)."""
    named = program.environment.get("PGPASSFILE")
    path = program.folder / named if named else program.home and program.home / ".pgpass"
    try:
        lines = Path(path).read_text(errors="replace").splitlines() if path else []
    except OSError:
        return
    for line in lines:
        fields = re.split(r"(?<!\\):", line)
        if not line.startswith("#") and len(fields) == 5:
            yield _ESCAPED.sub(r"\1", fields[4])
