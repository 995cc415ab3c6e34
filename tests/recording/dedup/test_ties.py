"""A case rests on those that made what it was given, and on those whose answers it may remember."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.registry import get_protocol
from kebpf.recording.dedup.ties import Ties
from kebpf.recording.dedup.traits import Called, find_traits
from kebpf.recording.model import TestCase
from tests.recording.builders import make_case, make_mock

TOKEN = "0d3c1f9e-58a7-4a3e-9b1e-2f6c54f0a111"


class Line:
    """Cases one after the other; each gives the numbers of those it rests on."""

    def __init__(self) -> None:
        self._ties = Ties(get_protocol)
        self._number = 0

    def add(self, case: TestCase, *calls: Called) -> set[int]:
        self._number += 1
        traits = find_traits(case, calls, get_protocol)
        return self._ties.find(self._number, case, calls, traits)


def make(
    target: str = "/", body: bytes = b"{}", generated: dict[str, str] | None = None, **request: Any
) -> TestCase:
    case = make_case(generated=generated or {})
    case.request |= {"target": target, "trailers": [], **request}
    case.response |= {"body": body, "trailers": []}
    return case


def call(sql: str, answer: str = "", **changes: Any) -> Called:
    request = {"kind": "query", "sql": sql, "parameters": [], "database": "shop"}
    columns = [{"name": "c", "type_oid": 25}]
    response = {"results": [{"tag": "SELECT 1", "columns": columns, "rows": [[answer]]}]}
    return Called.of_mock(make_mock(request=request, response=response, **changes))


def log_in() -> TestCase:
    body = b'{"token": "%s"}' % TOKEN.encode()
    return make("/login", body, {"/body/token": "{uuid4}"}, method="POST")


def test_a_request_with_what_another_made_rests_on_it() -> None:
    line = Line()
    assert line.add(log_in()) == set()
    assert line.add(make("/me", headers=[["Authorization", f"Bearer {TOKEN}"]])) == {1}
    assert line.add(make(f"/sessions/{TOKEN}")) == {1}
    assert line.add(make("/me")) == set()


def test_what_was_made_in_a_call_counts_too() -> None:
    line = Line()
    insert = call(f"INSERT INTO t VALUES ('{TOKEN}')")
    identity = get_protocol("postgres").identity(insert.request)
    path = next(key for key, value in identity.items() if TOKEN in str(value))
    insert = insert._replace(generated={f"/{path}": "INSERT INTO t VALUES ('{uuid4}')"})
    assert line.add(make("/t", method="POST"), insert) == set()
    assert line.add(make(f"/t/{TOKEN}")) == {1}


def test_what_is_shown_but_was_not_told_was_kept_by_the_program() -> None:
    line = Line()
    line.add(log_in())
    shown = b'{"last": "%s"}' % TOKEN.encode()
    assert line.add(make("/last", shown)) == {1}
    assert line.add(make("/stored", shown), call("SELECT last", TOKEN)) == set()


def test_times_tie_nothing() -> None:
    line = Line()
    made = b'{"at": "2024-05-01T10:00:00.123456Z"}'
    line.add(make("/a", made, {"/body/at": "{time:%Y-%m-%dT%H:%M:%S.%6fZ}"}))
    assert line.add(make("/b", made)) == set()


def test_an_equal_request_with_fewer_calls_may_remember() -> None:
    line = Line()
    assert line.add(make("/p/7"), call("SELECT p")) == set()
    assert line.add(make("/p/8")) == set()
    assert line.add(make("/p/7")) == {1}
    assert line.add(make("/p/7"), call("SELECT p")) == set()
    assert line.add(make("/p/7")) == {4}
