"""Bodies by media type."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.http1.content import (
    decode_body,
    decode_pairs,
    parse_media_type,
    replace_boundary_parameter,
)

JSON = "application/json"


@pytest.mark.parametrize(
    ("media_type", "body", "expected"),
    [
        (JSON, b"", ("empty", None)),
        (JSON, b' {"a": [1, null]} ', ("json", {"a": [1, None]})),
        ("application/problem+json; charset=utf-8", b"true", ("json", True)),
        (JSON, b'{"a":1,"a":2}', ("text", '{"a":1,"a":2}')),
        (JSON, b"{", ("text", "{")),
        (JSON, b"\xff", ("binary", b"\xff")),
        ("", b'{"a":1}', ("json", {"a": 1})),
        ("", b"123", ("text", "123")),
        ("", b"a\x00b", ("binary", b"a\x00b")),
        ("text/plain", b"a\x00b", ("text", "a\x00b")),
        ("text/plain; charset=ISO-8859-1", b"\xe9", ("text", "é")),
        ("text/plain; charset=hex", b"ab", ("binary", b"ab")),
        ("text/plain; charset=iso-8859-99", b"ab", ("binary", b"ab")),
        ("text/plain", b"\xe9", ("binary", b"\xe9")),
        ("image/png", b"\x89PNG\r\n\x1a\n", ("binary", b"\x89PNG\r\n\x1a\n")),
        ("application/x-www-form-urlencoded", b"a=1&a=&b&c=%C3%A9+x",
         ("form", [["a", "1"], ["a", ""], ["b", None], ["c", "é x"]])),
        ("application/x-www-form-urlencoded", b"a=%ff", ("text", "a=%ff")),
        ("application/x-www-form-urlencoded", b"a=100%", ("text", "a=100%")),
    ],
)  # fmt: skip
def test_kinds(media_type: str, body: bytes, expected: tuple[str, Any]) -> None:
    headers = [["Content-Type", media_type]] if media_type else []
    assert decode_body(headers, body) == expected


def test_codings_are_undone_and_damage_is_binary() -> None:
    headers = [["content-type", JSON], ["Content-Encoding", "gzip"]]
    body = gzip.compress(b'{"a":1}')
    assert decode_body(headers, body) == ("json", {"a": 1})
    assert decode_body(headers, body[:-1]) == ("binary", body[:-1])
    transfer = [["content-type", JSON], ["Transfer-Encoding", "gzip, chunked"]]
    assert decode_body(transfer, body) == ("json", {"a": 1})


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_pairs_are_what_urllib_encodes(pairs: list[tuple[str, str]]) -> None:
    text = urlencode(pairs)
    assert decode_pairs(text) == [list(pair) for pair in pairs]
    assert parse_qsl(text, keep_blank_values=True) == pairs


def make_multipart() -> tuple[list[list[str]], bytes]:
    """As httpx writes it, with a boundary of its own making."""
    request = httpx.Request("POST", "http://h/", data={"a": "b"}, files={"f": ("n", b"\r\n--x")})
    return [["Content-Type", request.headers["content-type"]]], request.read()


def test_multipart_boundaries_do_not_matter() -> None:
    (one_headers, one), (two_headers, two) = make_multipart(), make_multipart()
    assert one != two
    assert decode_body(one_headers, one) == decode_body(two_headers, two)
    assert decode_body(one_headers, one)[1].startswith("--boundary\r\n")
    assert replace_boundary_parameter(one_headers[0][1]) == "multipart/form-data; boundary=boundary"
    assert replace_boundary_parameter("text/plain; boundary=x") == "text/plain; boundary=x"


@pytest.mark.parametrize("body", [b"--x\r\n\r\na\r\n--x", b"pre\r\n--x--\r\n", b"--xy--\r\n", b"?"])
def test_odd_multipart_is_left_alone(body: bytes) -> None:
    assert decode_body([["Content-Type", "multipart/mixed; boundary=x"]], body)[1] == body.decode()


def test_media_types() -> None:
    assert parse_media_type('Text/HTML ; Charset="ut\\"f"; a=b') == (
        "text/html",
        {"charset": 'ut"f', "a": "b"},
    )
