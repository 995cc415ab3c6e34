"""Routes that need the service as a whole: its start, its end, a slow or a broken connection."""

from __future__ import annotations

import os

from tests.e2e.field.lines import Answer, Backends, CallFinding, Difference, as_json, as_text, line

PAUSE_SECONDS = 0.02
SLOW_CHUNKS = 40


def read_version(use: Backends, is_changed: bool) -> None:
    """What the service asks once, when it starts."""
    table = "places" if is_changed else "owners"
    with use.database.connection() as database:
        database.execute(f"SELECT count(*) AS version FROM {table}".encode()).fetchone()


@line("a response that is cut off", Difference(""))
def cut_off(bug: bool, _: Backends) -> Answer:
    whole = b"a" * 1000
    return Answer(whole[:500], "text/plain", declared=1000) if bug else as_text(whole)


@line("a response that is cut off", Difference(""))
def cut_off_chunked(bug: bool, _: Backends) -> Answer:
    return Answer(kind="text/plain", chunks=[b"a" * 100, b"b" * 100], is_whole=not bug)


@line("chunked handling with idle timeouts cuts bodies (#3387)", Difference("/body"))
def slow_chunks(bug: bool, _: Backends) -> Answer:
    chunks = [f"line {number}\n".encode() for number in range(SLOW_CHUNKS)]
    if bug:
        chunks[SLOW_CHUNKS // 2] = b"other\n"
    return Answer(kind="text/plain", chunks=chunks)


@line("a failing case whose mocks also differ is obsolete and exits 0", Difference("/body/count"))
def case_and_mocks_differ(bug: bool, use: Backends) -> Answer:
    sql = f"SELECT count(*) FROM places WHERE id < {3 if bug else 100}"
    try:
        with use.database.connection() as database:
            row = database.execute(sql.encode()).fetchone()
    except Exception:  # noqa: BLE001  # as careless as the services that this happened to
        row = None
    return as_json({"count": row[0] if row else 0})


@line("the same, seen from its mocks", CallFinding("changed", "SELECT count(*) FROM places WHERE"))
def mocks_and_case_differ(bug: bool, use: Backends) -> Answer:
    return case_and_mocks_differ(bug, use)


@line("an application that dies", Difference(""))
def death(bug: bool, _: Backends) -> Answer:
    if bug:
        os._exit(1)
    return as_json({"alive": True})
