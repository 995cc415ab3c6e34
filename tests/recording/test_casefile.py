"""Cases read back exactly as written; the oracle is the case itself, its bytes and PyYAML."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kebpf.recording.casefile import read_case, write_case
from kebpf.recording.model import Endpoint, Strength, TestCase, Timing, Tls
from tests.recording.builders import make_case, make_request, make_response

ODD = ["yes", "no", "~", "null", "1e3", "0x1f", "010", "1:30", "2024-01-01", "=", "<<", "- a", "",
       " lead", "trail ", "a\r\nb\r\n", "a\nb", "a\nb\n", "a\n\n", "\n", "\ta\n\tb", "a \nb",
       "x" * 5000 + " y", "a: b", "#c", "'\"", "\x00", "\x7f", "\x85", "\u2028\u2029", "\ufeff",
       "\ufffe", "é", "😀", "!tag", "&a", "*a", "%x", "@", "`", "? k", "|", ">", "a #b", "---",
       "...", "--- x\n", " \n", "a\n b", "é\n😀\n"]  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(ODD)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.binary()
    | texts.map(str.encode)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
dumped = st.builds(
    lambda tree, ascii_, indent, separators, end: (
        json.dumps(tree, ensure_ascii=ascii_, indent=indent, separators=separators) + end
    ).encode(),
    json_trees,
    st.booleans(),
    st.sampled_from([None, 0, 1, 2, 4, "\t"]),
    st.sampled_from([None, (",", ":"), (", ", ": "), (",", " : ")]),
    st.sampled_from(["", "\n", "\r\n", "  "]),
)
bodies = dumped | st.binary() | texts.map(str.encode) | dumped.map(gzip.compress)
messages = st.builds(
    lambda body, headers, rest: {"headers": headers, "body": body, "rest": rest},
    bodies,
    st.lists(st.lists(texts | st.binary(), min_size=2, max_size=2))
    | st.lists(st.lists(texts.map(str.encode), min_size=2, max_size=2))
    | st.just([[b"Content-Encoding", b"gzip"]]),
    documents,
)
cases = st.builds(
    TestCase,
    name=texts,
    protocol=st.just("http"),
    request=messages,
    response=messages,
    endpoint=st.sampled_from(
        [Endpoint("tcp", "127.0.0.1", 80), Endpoint("tcp", "::1", 80), Endpoint("unix", "/a:b")]
    ),
    timing=st.builds(Timing, st.integers(), st.integers()),
    order=st.integers(),
    calls=st.lists(texts),
    generated=st.dictionaries(texts, texts),
    strength=st.builds(Strength, st.integers(), st.integers(), st.integers()),
    tls=st.none() | st.builds(Tls, texts, texts, st.sampled_from(["", "TLSv1.3"])),
)


@settings(max_examples=300, deadline=None)
@given(cases)
def test_any_case_reads_back_exactly(case: TestCase) -> None:
    assert repr(read_case(write_case(case))) == repr(case)


@pytest.mark.parametrize("text", ODD)
def test_odd_text_reads_back_in_every_place(text: str) -> None:
    tree = {text: [text, {"k": text}]}
    case = make_case(
        request=make_request(text, text.encode()),
        response=make_response(json.dumps(tree).encode()) | {"extra": tree, text: text.encode()},
    )
    assert repr(read_case(write_case(case))) == repr(case)


@pytest.mark.parametrize(
    ("body", "style"),
    [
        (b'{"a":1,"b":[1,2]}', "compact"),
        (b'{"a": 1, "b": [1, 2]}', "spaced"),
        (b'{\n  "a": 1\n}\n', "colon-spaced indent=ss end=\\n"),
        (b'{"a":"\\u00e9"}', "compact ascii"),
        (b'{"a":"\\u003cb\\u003e"}\n', "compact html end=\\n"),
        (b'{"a":"\\/x"}', "compact slashes"),
        (b'{\n  "a" : 1\n}', "colon-padded indent=ss"),
        (b'{\n\t"a": [\n\t\t1\n\t]\n}', "colon-spaced indent=t"),
        (b"[1, 2]", "spaced"),
        ('{"a":"é"}'.encode(), "compact"),
    ],
)
def test_known_encoders_need_no_raw_text(body: bytes, style: str) -> None:
    tree = _body_of(write_case(make_case(response=make_response(body))))
    assert (tree["style"], tree["json"], tree["size"]) == (style, json.loads(body), len(body))
    assert "raw" not in tree


def _body_of(text: str) -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        """Knows the body tag as a plain mapping."""

    def construct(loader: Any, node: Any) -> Any:
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("!body", construct)
    body: dict[str, Any] = yaml.load(text, Loader)["response"]["body"]
    return body


@pytest.mark.parametrize(
    "body", [b'{"a":1.10}', b'{"a":1,"a":2}', b'{"a" :1}', b'{"a":1e5}', b'{"a":"\\u00E9"}']
)
def test_json_no_style_gives_again_keeps_its_raw_text(body: bytes) -> None:
    tree = _body_of(write_case(make_case(response=make_response(body))))
    assert tree["raw"].encode() == body
    assert tree["json"] == json.loads(body)


@pytest.mark.parametrize(
    "body", [b'{"a":1}', b'{"a": 1}', b'{"a":1 }', b'{ "a":1,"b":1.50 }', b'{\n  "a": 1\n}\n']
)
def test_an_edited_tree_is_what_counts(body: bytes) -> None:
    response = make_response(body)
    response["headers"].append(["content-length", str(len(body))])
    text = write_case(make_case(response=response)).replace("a: 1\n", "a: 1234\n")
    edited = read_case(text).response
    assert json.loads(edited["body"])["a"] == 1234
    assert edited["headers"][-1] == ["content-length", str(len(edited["body"]))]


def test_an_edited_compressed_body_is_compressed_again() -> None:
    response = make_response(gzip.compress(b'{"a":1}'))
    response["headers"].append([b"Content-Encoding", b"gzip"])
    text = write_case(make_case(response=response)).replace("a: 1\n", "a: 2\n")
    assert gzip.decompress(read_case(text).response["body"]) == b'{"a":2}'


def test_a_date_a_person_writes_unquoted_stays_text() -> None:
    text = write_case(make_case(response=make_response(b'{"a":"x"}')))
    edited = read_case(text.replace("a: x\n", "a: 2024-01-01\n"))
    assert edited.response["body"] == b'{"a":"2024-01-01"}'


def test_deep_json_is_kept_as_text() -> None:
    body = b"[" * 5000 + b"]" * 5000
    case = make_case(response=make_response(body))
    assert read_case(write_case(case)) == case


@example('{"a":"\\ud800"}')
@given(st.just("[1" + "0" * 5000 + "]"))
def test_json_beyond_a_tree_is_kept_as_text(body: str) -> None:
    case = make_case(response=make_response(body.encode()))
    assert read_case(write_case(case)) == case


def test_the_file_is_for_people() -> None:
    case = make_case(
        "post-orders-1a2b3c",
        request=make_request("/orders", b'{"item":"book","n":2}', "POST"),
        response=make_response(b"first\nsecond\n"),
        calls=["mock-000001"],
        generated={"/body/id": "uuid4"},
        strength=Strength(4, 1, 0),
    )
    assert write_case(case).split("\n", 1)[1] == EXPECTED


EXPECTED = """\
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
      n: 2
    style: compact
    size: 21
response:
  status: 200
  headers:
  - [Content-Type, application/json]
  body: !body
    text: |
      first
      second
    size: 13
generated:
  /body/id: uuid4
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


@given(st.binary() | texts.map(str.encode))
def test_damaged_files_give_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_case(text)
