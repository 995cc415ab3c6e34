"""What makes two calls the same, how they read, and what is compared of an answer."""

from __future__ import annotations

from kebpf.protocols.base import Detection
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import (
    column_document,
    cursor_document,
    make_request,
    new_response,
)
from kebpf.protocols.postgres.writer import write

JSONB = 3802


def test_types_form_and_names_are_not_identity() -> None:
    one = make_request(" select $1 ;\n", "simple", parameters=["1"], parameter_types=[23])
    two = make_request("select $1", "extended", parameters=["1"], result_formats=[1])
    assert POSTGRES.identity(one) == POSTGRES.identity(two)
    assert POSTGRES.identity(one)["operation"] == "select $1"


def test_parameters_and_copy_data_are() -> None:
    base = make_request("x", parameters=["1"])
    for other in ({"parameters": ["2"]}, {"copy_data": b""}, {"sql": "X"}, {"piece": 1}):
        assert POSTGRES.identity({**base, **other}) != POSTGRES.identity(base)


def test_a_cursor_is_told_by_its_query_and_not_by_its_name() -> None:
    def name(sql: str, *parameters: str) -> dict[str, object]:
        request = make_request(sql)
        if parameters:
            request["cursor"] = cursor_document("SELECT $1", parameters)
        return POSTGRES.identity(request)

    assert name('DECLARE "c_7f" CURSOR FOR x') == name("declare d CURSOR FOR x") | {
        "operation": "DECLARE cursor CURSOR FOR x"
    }
    assert name("DECLARE c CURSOR FOR x") != name("DECLARE c CURSOR FOR y")
    for sql in ("FETCH FORWARD 3 FROM {}", "MOVE 1 {}", "CLOSE {}"):
        assert name(sql.format("c"), "1") == name(sql.format('"D"'), "1")
        assert name(sql.format("c"), "1") != name(sql.format("c"), "2")
        assert name(sql.format("c")) != name(sql.format("d"))  # not known which they are
    assert name("CLOSE ALL", "1")["operation"] == "CLOSE ALL"
    assert name("FETCH c; FETCH d", "1")["operation"] == "FETCH c; FETCH d"


def test_a_line_for_people() -> None:
    request = make_request("INSERT  INTO orders\nVALUES ($1, $2);", parameters=["a", "1"])
    assert POSTGRES.describe(request) == "INSERT INTO orders VALUES ($1, $2) ['a', '1']"
    long = make_request("select " + "x, " * 100, parameters=["y" * 200, None])
    assert len(POSTGRES.describe(long)) <= 100


def test_a_view_pairs_columns_with_values() -> None:
    columns = [
        column_document(m.Column(n, 0, 0, o, -1, -1, 0)) for n, o in (("a", 25), ("j", JSONB))
    ]
    result = {"columns": columns, "rows": [["x", '{"k": 1}']], "tag": "SELECT 1", "copy": None}
    response = {**new_response(), "results": [result]}
    seen = POSTGRES.view(response)
    assert seen["results"][0]["rows"] == [[["a", "x"], ["j", {"k": 1}]]]
    assert POSTGRES.view(make_request("s", parameters=["p"])) == {"sql": "s", "parameters": ["p"]}


def test_detection() -> None:
    assert POSTGRES.detect(write(m.SSLRequest()), b"") is Detection.YES
    assert POSTGRES.detect(write(m.StartupMessage([("user", "u")])), b"") is Detection.YES
    assert POSTGRES.detect(b"\0\0", b"") is Detection.NEED_MORE
    assert POSTGRES.detect(b"GET / HTTP/1.1\r\n", b"") is Detection.NO
    assert POSTGRES.detect(b"*1\r\n$4\r\nPING\r\n", b"") is Detection.NO
    assert POSTGRES.resynchronise(write(m.Query("select 1")), b"") is Detection.YES
    assert POSTGRES.resynchronise(b"GET / HTTP/1.1\r\n", b"") is Detection.NO


def test_documents_as_bytes() -> None:
    assert POSTGRES.write_request(make_request("select 1")) == write(m.Query("select 1"))
    response = {**new_response(), "status": "T"}
    assert POSTGRES.write_response(response) == write(m.ReadyForQuery("T"))
