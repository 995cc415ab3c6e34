"""Start lines and header sections, kept to the byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.http1.grammar import (
    find_head_end,
    get_tokens,
    get_value,
    get_values,
    parse_any_request,
    parse_any_status,
    parse_request_head,
    parse_status_head,
    parse_usual_request,
    parse_usual_status,
    unfold,
)


def test_order_case_and_repeats_are_kept() -> None:
    head = parse_request_head(b"GET /?a=%20 HTTP/1.1\r\nB: 1\r\na: 2\r\nb: 3\r\n\r\n")
    assert head == {
        "method": "GET",
        "target": "/?a=%20",
        "version": "1.1",
        "headers": [["B", "1"], ["a", "2"], ["b", "3"]],
    }
    assert get_values(head["headers"], "b") == ["1", "3"]


def test_bytes_above_ascii_are_latin_1() -> None:
    head = parse_status_head(b"HTTP/1.1 200 Gr\xfc\xdfe\r\nX: \xc3\xa9\r\n\r\n")
    assert head["reason"] == "Grüße"
    assert head["headers"] == [["X", "\xc3\xa9"]]


def test_unusual_white_space_goes_to_the_layout() -> None:
    head = parse_status_head(b"HTTP/1.0 200\nA:1 \t\r\nB:\r\nC:  x y\n\n")
    assert head["headers"] == [["A", "1"], ["B", ""], ["C", "x y"]]
    assert head["layout"] == [
        [-1, "", "\n"],
        [0, "", " \t\r\n"],
        [1, "", "\r\n"],
        [2, "  ", "\n"],
        [3, "", "\n"],
    ]


def test_folded_value() -> None:
    """RFC 9112 section 5.2: obs-fold is read as one or more spaces."""
    head = parse_request_head(b"GET / HTTP/1.1\r\nA: one\r\n  two \r\n\tthree\r\nB: x\r\n\r\n")
    assert head["headers"] == [["A", "one\r\n  two \r\n\tthree"], ["B", "x"]]
    assert get_value(head["headers"], "a") == "one two three"
    assert unfold("plain  value") == "plain  value"


@pytest.mark.parametrize(
    "block",
    [
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n A: folded at the start\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\n: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nnothing\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: a\x00b\r\n\r\n",
    ],
)
def test_malformed_requests(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request_head(block)


@pytest.mark.parametrize(
    "block", [b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 099 x\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n"]
)
def test_malformed_responses(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_status_head(block)


def test_head_end() -> None:
    data = bytearray(b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody")
    assert find_head_end(data, 0) == len(data) - 4
    assert find_head_end(data, len(data) - 5) == len(data) - 4
    assert find_head_end(data[:-5], 0) is None
    assert find_head_end(bytearray(b"GET / HTTP/1.1\n\n"), 0) == 16


def test_tokens() -> None:
    headers = [["Connection", "Keep-Alive, ,Upgrade"], ["connection", " close "]]
    assert get_tokens(headers, "connection") == ["keep-alive", "upgrade", "close"]


def _try(parse: Callable[[bytes], Document], block: bytes) -> Document | str:
    try:
        return parse(block)
    except ProtocolError as error:
        return str(error)


LINES = st.one_of(
    st.sampled_from(
        [
            b"A: b",
            b"A:b",
            b"A:  b",
            b"A: b ",
            b"A: ",
            b"A:",
            b" fold",
            b"\tfold",
            b"A : b",
            b"b c: d",
            b"A: \x00",
            b"A: b\rc",
            b"A: b\nB: c",
            b"X-\xff: y",
            b"A: \xff\x85",
            b": v",
            b"A: b: c",
        ]
    ),
    st.binary(max_size=6),
)
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"get /\xff HTTP/1.0",
        b"GET / HTTP/2.0",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.0 099 a",
        b"HTTP/1.1 404  x",
        b"HTTP/1.1 2000 OK",
        b"",
    ]
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b" \r\n", b"\r\r\n"])


@given(
    STARTS, ENDS, st.lists(st.tuples(LINES, ENDS), max_size=4), st.sampled_from([b"\r\n", b"\n"])
)
def test_usual_heads_are_read_as_any(
    start: bytes, end: bytes, fields: list[tuple[bytes, bytes]], blank: bytes
) -> None:
    block = start + end + b"".join(line + ending for line, ending in fields) + blank
    head_size = find_head_end(bytearray(block), 0)
    assert head_size is not None
    block = block[:head_size]
    assert _try(parse_request_head, block) == _try(parse_any_request, block)
    assert _try(parse_status_head, block) == _try(parse_any_status, block)


def test_a_usual_head_goes_the_short_way() -> None:
    assert parse_usual_request(b"GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\n\r\n") == {
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "headers": [["Host", "h"], ["A", "b c"]],
    }
    assert parse_usual_status(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n") == {
        "status": 404,
        "reason": "Not Found",
        "version": "1.1",
        "headers": [["A", "b"]],
    }
