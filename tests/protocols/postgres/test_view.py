"""What people see of requests and responses, and what is compared path by path."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document
from kebpf.protocols.postgres.documents import make_request, new_response
from kebpf.protocols.postgres.view import view

JSON, JSONB, TEXT = 114, 3802, 25  # pg_type.dat


def make_result(columns: list[tuple[str, int]], *rows: list[Any], **more: Any) -> Document:
    named = [{"name": name, "type_oid": oid} for name, oid in columns]
    return {"columns": named, "rows": list(rows), "tag": f"SELECT {len(rows)}", **more}


def view_results(*results: Document) -> Any:
    return view({**new_response(), "results": list(results)})["results"]


def test_a_query_is_its_sql_and_parameters() -> None:
    request = make_request("insert into t values ($1)", parameters=["1"], parameter_types=[23])
    assert view(request) == {"sql": "insert into t values ($1)", "parameters": ["1"]}


def test_what_was_copied_in_is_seen() -> None:
    request = make_request("copy t from stdin", copy_data=b"1\n")
    assert view(request) == {"sql": "copy t from stdin", "parameters": [], "copy_data": b"1\n"}


def test_other_requests_are_seen_whole() -> None:
    startup = {"kind": "startup", "user": "u", "database": "d"}
    assert view(startup) == startup
    assert view({"answer": "N"}) == {"answer": "N"}


def test_columns_of_one_name_stay_apart() -> None:
    result = make_result([("id", 23), ("id", 23)], ["1", "2"])
    assert view_results(result) == [{"tag": "SELECT 1", "rows": [[["id", "1"], ["id", "2"]]]}]


def test_json_is_seen_as_a_tree_where_it_is_json() -> None:
    columns = [("a", JSON), ("b", JSONB), ("c", TEXT), ("d", JSON), ("e", JSON)]
    result = make_result(columns, ['{"k": [1]}', "null", '{"k": 1}', "{cut", b"\x01"])
    ((a, b, c, d, e),) = view_results(result)[0]["rows"]
    assert [a, b, c, d, e] == [
        ["a", {"k": [1]}],
        ["b", None],
        ["c", '{"k": 1}'],
        ["d", "{cut"],
        ["e", b"\x01"],
    ]


def test_json_too_deep_to_decode_stays_text() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert view_results(make_result([("a", JSON)], [deep]))[0]["rows"] == [[["a", deep]]]


def test_a_statement_without_rows_has_a_tag_only() -> None:
    result: Document = {"columns": None, "rows": [], "tag": "INSERT 0 1"}
    assert view_results(result) == [{"tag": "INSERT 0 1"}]


def test_cursors_and_copies_out() -> None:
    suspended = make_result([("a", TEXT)], ["x"], suspended=True)
    copied = {"tag": "COPY 1", "copy": {"direction": "out", "data": (b"1\n",)}}
    taken = {"tag": "COPY 1", "copy": {"direction": "in", "data": ()}}
    assert view_results(suspended, copied, taken) == [
        {"tag": "SELECT 1", "rows": [[["a", "x"]]], "suspended": True},
        {"tag": "COPY 1", "copy": [b"1\n"]},
        {"tag": "COPY 1"},
    ]


def test_errors_and_notices_are_seen() -> None:
    error, notices = {"C": "23505"}, [{"S": "WARNING"}]
    assert view({**new_response(), "error": error, "notices": notices}) == {
        "results": [],
        "error": error,
        "notices": notices,
    }
