"""What makes two exchanges the same, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.protocols.base import Document
from kebpf.protocols.registry import get_protocol
from kebpf.recording.dedup.traits import (
    Called,
    Traits,
    find_kinds,
    find_traits,
    simplify_operation,
    tells_apart,
)
from kebpf.recording.model import Endpoint, Tier
from tests.recording.builders import make_case, make_mock

RATES = Endpoint("tcp", "10.0.0.7", 80)


def traits(
    target: str = "/a",
    *calls: Called,
    body: bytes = b"{}",
    answer: bytes = b'{"a": 1}',
    status: int = 200,
    kind: str = "application/json",
) -> Traits:
    case = make_case()
    case.request = {
        "method": "POST", "target": target, "headers": [["Content-Type", kind]],
        "body": body, "trailers": [],
    }  # fmt: skip
    case.response |= {"status": status, "body": answer, "trailers": []}
    return find_traits(case, calls, get_protocol)


def select(sql: str, rows: int = 1, at: int = 0, **result: Any) -> Called:
    columns = [{"name": "n", "type_oid": 23}]
    results = [{"tag": f"SELECT {rows}", "columns": columns, "rows": [["1"]] * rows, **result}]
    request = {"kind": "query", "sql": sql, "parameters": ["1"], "database": "shop"}
    mock = make_mock(request=request, response={"results": results})
    mock.timing.start_ns, mock.timing.end_ns = at, at + 5
    return Called.of_mock(mock)


def redis(*words: str, reply: Document | None = None) -> Called:
    mock = make_mock(
        protocol="redis",
        request={"command": list(words), "database": 0},
        response={"reply": reply or {"type": "bulk", "value": "x"}},
    )
    return Called.of_mock(mock)


def http(target: str, status: int = 200, body: bytes = b"[]") -> Called:
    request = {"method": "GET", "target": target, "headers": [], "body": b"", "trailers": []}
    headers = [["Content-Type", "application/json"]]
    response = {"status": status, "headers": headers, "body": body, "trailers": []}
    return Called.of_mock(
        make_mock(protocol="http", request=request, response=response, destination=RATES)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (traits("/a?x=1&y=2"), traits("/a?y=5&x=9")),
        (traits(body=b'{"n": 1}'), traits(body=b'{"n": 7}')),
        (traits(answer=b'{"a": 1}'), traits(answer=b'{"a": 5}')),
        (traits(kind="application/json"), traits(kind="Application/JSON; charset=utf-8")),
        (traits("/a", select("SELECT 1")), traits("/a", select("SELECT 2"))),
        (traits("/a", select("S", 2)), traits("/a", select("S", 9))),
        (
            traits("/a", select("S", at=0), select("S", at=9)),
            traits("/a", *(select("S", at=9 * n) for n in range(9))),
        ),
        (
            traits("/a", select("S", at=0), select("T", at=1)),
            traits("/a", select("T", at=0), select("S", at=1)),
        ),
        (traits("/a", redis("GET", "cart:7")), traits("/a", redis("GET", "cart:8"))),
        (traits("/a", http("/rates/17?x=1")), traits("/a", http("/rates/18?x=3"))),
    ],
)
def test_the_same(one: Traits, other: Traits) -> None:
    assert one.rest == other.rest


@pytest.mark.parametrize(
    "other",
    [
        traits("/a?x=1"),
        traits(body=b'{"n": 1}'),
        traits(status=201),
        traits(answer=b'{"b": 1}'),
        traits(answer=b"[]"),
        traits(kind="text/plain"),
        traits("/a", select("SELECT 1", 0)),
        traits("/a", select("SELECT 1", 2)),
        traits("/a", select("SELECT x")),
        traits("/a", select("SELECT 1"), select("SELECT x", at=9)),
        traits("/a", select("SELECT x"), select("SELECT 1", at=9)),
        traits("/a", select("UPDATE t", columns=None, tag="UPDATE 0")),
        traits("/a", select("UPDATE t", columns=None, tag="UPDATE 7")),
        traits("/a", redis("GET", "cart:1")),
        traits("/a", redis("GET", "cart:1", reply={"type": "null-bulk"})),
        traits("/a", redis("DEL", "cart:1")),
        traits("/a", redis("GET", "user:1")),
        traits("/a", redis("GET", "cart:1", reply={"type": "error", "value": "WRONGTYPE no"})),
        traits("/a", http("/rates/17")),
        traits("/a", http("/rates/17", 404)),
        traits("/a", http("/rates/17", body=b"[1]")),
    ],
)
def test_something_else(other: Traits) -> None:
    everything = [traits("/a"), traits("/a", select("SELECT 1"))]
    assert other.rest not in {one.rest for one in everything}


def test_lists_of_any_length_are_one_statement() -> None:
    short = "SELECT * FROM t WHERE id IN ($1, $2) AND n = 'x'"
    long = "SELECT * FROM t WHERE id IN ($1, $2, $3, $4) AND n = 'longer one'"
    assert simplify_operation(short) == simplify_operation(long)
    rows = "INSERT INTO t VALUES ($1, $2)"
    assert simplify_operation(rows) == simplify_operation(f"{rows}, ($3, $4), ($5, $6)")


def test_values_are_those_of_the_response_by_status() -> None:
    assert traits(answer=b'{"kind": "paid"}').fields == (("200/kind", "paid"),)


def test_the_evidence_is_what_the_rest_of_the_exchange_holds() -> None:
    found = traits(
        "/a", select("SELECT 'q-17'"), answer=b'{"id": 42, "n": {"x": "b-9"}}'
    ).evidence()
    assert {"42", "b-9", "q-17"} <= set(found)


def test_what_is_of_the_connection_tells_nothing() -> None:
    assert not tells_apart(make_mock(tier=Tier.SESSION))
    assert not tells_apart(make_mock(protocol="dns"))
    assert tells_apart(make_mock())


def test_calls_that_overlap_have_no_order() -> None:
    one = find_kinds([select("A", at=0), select("B", at=4), select("C", at=20)], get_protocol)
    other = find_kinds([select("B", at=0), select("A", at=4), select("C", at=20)], get_protocol)
    assert one == other and len(one) == 3
