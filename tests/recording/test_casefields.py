"""An edited case with a mistake: the line, the field and the nearest name are told."""

from __future__ import annotations

import pytest

from kebpf.recording.casefields import FieldError
from kebpf.recording.casefile import read_edited_case
from kebpf.recording.yamltext import YamlError

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


def test_the_syntax_comes_first() -> None:
    with pytest.raises(YamlError) as caught:
        read_edited_case(TEXT.replace("  - [Host, app]", "  - [Host, app"))
    assert caught.value.line in (9, 10)
