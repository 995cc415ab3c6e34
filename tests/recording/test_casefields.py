"""An edited case with a mistake: the line, the field and the nearest name are told."""

from __future__ import annotations

import pytest

from kebpf.recording.casefields import FieldError
from kebpf.recording.casefile import read_edited_case, write_case
from kebpf.recording.model import Endpoint, Tls
from kebpf.recording.yamltext import YamlError
from tests.replay.sets import make_case

TEXT = """\
# A recorded request and its response.
name: post-orders-1a2b3c
protocol: http
endpoint: 127.0.0.1:8000
request:
  method: POST
  target: /orders
  headers:
  - [Host, app]
  body: !body
    json:
      item: book
    style: compact
    size: 15
response:
  status: 200
  headers: !bytes
  - [Content-Type, application/json]
  body: !body
    text: |
      first
generated:
  /body/id: '{uuid4}'
strength:
  exact: 4
  by_class: 1
  not_compared: 0
calls:
- mock-000001
order: 1
timing:
  start_ns: 1
  end_ns: 2
"""


def test_it_is_right_as_it_is() -> None:
    case = read_edited_case(TEXT)
    assert case.response["status"] == 200 and case.calls == ["mock-000001"]


@pytest.mark.parametrize("template", ["{permutation}", "{either:uuid4}", "{string} {number}"])
def test_classes_of_verification_are_known(template: str) -> None:
    case = read_edited_case(TEXT.replace("{uuid4}", template))
    assert case.generated == {"/body/id": template}


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("status: 200", "staus: 200", 16, "response/staus: no such field (is it 'status'?)"),
        ("status: 200", "status: '200'", 16, "response/status: a whole number is expected"),
        ("status: 200", "status: true", 16, "a whole number is expected, not True"),
        ("  status: 200\n", "", 15, "response: 'status' is missing"),
        ("method: POST", "metod: POST", 6, "request/metod: no such field (is it 'method'?)"),
        ("target: /orders", "target: 7", 7, "a text is expected, not 7: put it in quotes"),
        ("[Host, app]", "Host=app", 9, "request/headers/0: a pair of texts is expected"),
        ("[Host, app]", "[Host, 8]", 9, "request/headers/0: a pair of texts is expected"),
        ("    json:", "    jsn:", 11, "request/body/jsn: no such field (is it 'json'?)"),
        ("generated:", "genrated:", 22, "genrated: no such field (is it 'generated'?)"),
        ("{uuid4}", "{uuid44}", 23, "unknown value class 'uuid44'"),
        ("/body/id: '{uuid4}'", "id: '{uuid4}'", 23, "generated/id: a path is expected"),
        ("'{uuid4}'", "{uuid4}", 23, "generated//body/id: a text is expected, not a mapping"),
        ("by_class: 1", "by-class: 1", 26, "strength/by-class: no such field (is it 'by_class'"),
        ("- mock-000001", "  mock: 1", 28, "calls: a list is expected, not a mapping"),
        ("order: 1\n", "", 0, "'order' is missing"),
        ("end_ns: 2", "end: 2", 33, "timing/end: no such field (is it 'end_ns'?)"),
        ("127.0.0.1:8000", "here", 4, "endpoint: 'here' is no address"),
    ],
)
def test_a_mistake(old: str, new: str, line: int, sentence: str) -> None:
    assert TEXT.count(old) == 1
    with pytest.raises(FieldError) as caught:
        read_edited_case(TEXT.replace(old, new))
    assert sentence in caught.value.problem
    assert caught.value.line == line


def test_what_is_known_of_tls_is_text() -> None:
    assert read_edited_case(TEXT).tls is None
    assert read_edited_case(TEXT + "tls:\n").tls == Tls()
    assert read_edited_case(TEXT + "tls: {sni: app.example}\n").tls == Tls("app.example")
    with pytest.raises(FieldError, match=r"tls/snj: no such field \(is it 'sni'\?\)"):
        read_edited_case(TEXT + "tls: {snj: app.example}\n")
    with pytest.raises(FieldError, match=r"tls/version: a text is expected, not 1\.3: put it in"):
        read_edited_case(TEXT + "tls: {version: 1.3}\n")


def test_what_a_case_needs_is_a_list() -> None:
    assert read_edited_case(TEXT + "needs: [post-login-1]\n").needs == ["post-login-1"]
    assert read_edited_case(TEXT + "needs:\n").needs == read_edited_case(TEXT).needs == []
    with pytest.raises(FieldError, match="needs: a list is expected"):
        read_edited_case(TEXT + "needs: post-login-1\n")


def test_a_kept_connection_is_true_or_false() -> None:
    assert read_edited_case(TEXT + "kept_open: true\n").is_kept_open
    assert not read_edited_case(TEXT + "kept_open: false\n").is_kept_open
    with pytest.raises(FieldError) as caught:
        read_edited_case(TEXT + "kept_open: 1\n")
    assert caught.value.problem == "kept_open: true or false is expected, not 1"


def test_the_syntax_comes_first() -> None:
    with pytest.raises(YamlError) as caught:
        read_edited_case(TEXT.replace("  - [Host, app]", "  - [Host, app"))
    assert caught.value.line in (9, 10)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \r\n\r\n",
        b"GET /a HTTP/1.1\nHost:x\nA: b \t\n\n",
        b"GET /\xe9?\xff HTTP/1.0\r\nX: \xe9\xff\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\x00\xff\x01",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"OPTIONS * HTTP/1.1\r\nHost: 1\r\nX-Null: null\r\nX-Empty:\r\n\r\n",
        b"PUT /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
        b"2\r\nok\r\n0\r\nT: 1\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 404 Not  Found\n\nuntil the end",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 \xe9\r\nX:  y \r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "[::1]:80", "unix:/a b", "unix:@x"])
def test_nothing_that_is_recorded_is_taken_for_a_mistake(
    request_: bytes, response: bytes, endpoint: str
) -> None:
    case = make_case("a", request_, response, endpoint=Endpoint.parse(endpoint))
    assert read_edited_case(write_case(case)) == case
