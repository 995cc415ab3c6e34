"""RFC 9112 section 6.3, case by case."""

from __future__ import annotations

import pytest

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.http1.framing import (
    Framing,
    get_request_framing,
    get_response_framing,
    has_body,
    is_persistent,
    is_switch,
    may_switch,
    name_switch,
)

Headers = list[list[str]]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Framing("none")),
        ([["Content-Length", "0"]], Framing("length", 0)),
        ([["Content-Length", "5"], ["content-length", "5"]], Framing("length", 5)),
        ([["Content-Length", "5, 5"]], Framing("length", 5)),
        ([["Transfer-Encoding", "gzip"], ["Transfer-Encoding", "Chunked"]], Framing("chunked")),
        ([["Transfer-Encoding", "chunked"], ["Content-Length", "5"]], Framing("chunked")),
    ],
)
def test_requests(headers: Headers, expected: Framing) -> None:
    assert get_request_framing({"headers": headers}) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [["Transfer-Encoding", "chunked, gzip"]],
        [["Content-Length", "5, 6"]],
        [["Content-Length", "+5"]],
        [["Content-Length", "0x5"]],
        [["Content-Length", "9" * 19]],
    ],
)
def test_refused_requests(headers: Headers) -> None:
    with pytest.raises(ProtocolError):
        get_request_framing({"headers": headers})


@pytest.mark.parametrize(
    ("status", "method", "headers", "expected"),
    [
        (200, "GET", [], "close"),
        (200, "GET", [["Content-Length", "3"]], "length"),
        (200, "GET", [["Transfer-Encoding", "gzip"]], "close"),
        (200, "GET", [["Transfer-Encoding", "gzip, chunked"]], "chunked"),
        (200, "HEAD", [["Transfer-Encoding", "chunked"]], "none"),
        (204, "GET", [["Content-Length", "3"]], "none"),
        (304, "GET", [["Content-Length", "3"]], "none"),
        (100, "POST", [], "none"),
        (200, "CONNECT", [["Content-Length", "3"]], "none"),
        (403, "CONNECT", [["Content-Length", "3"]], "length"),
    ],
)
def test_responses(status: int, method: str, headers: Headers, expected: str) -> None:
    head = {"status": status, "headers": headers}
    assert get_response_framing(head, method).kind == expected
    assert has_body(status, method) is (expected != "none")


def test_persistence() -> None:
    assert is_persistent("1.1", [])
    assert not is_persistent("1.1", [["Connection", "x, Close"]])
    assert not is_persistent("1.0", [])
    assert is_persistent("1.0", [["Connection", "Keep-Alive"]])


def test_switching() -> None:
    ask = {"method": "GET", "headers": [["Upgrade", "h2c"]]}
    assert may_switch(ask) and may_switch({"method": "CONNECT", "headers": []})
    assert not may_switch({"method": "GET", "headers": []})
    assert is_switch("GET", 101) and is_switch("CONNECT", 204) and not is_switch("CONNECT", 407)
    assert name_switch(ask, {"status": 101, "headers": []}) == "switched to h2c"
    assert name_switch(ask, {"status": 200, "headers": []}) == "switched to a tunnel"
