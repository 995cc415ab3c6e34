"""Which connections are HTTP/1, and where messages start."""

from __future__ import annotations

import pytest

from kebpf.protocols.base import Detection
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.detection import (
    MAX_START_LINE_SIZE,
    judge_request,
    judge_response,
    judge_resumption,
)
from tests.protocols.http1.wire import RFC_REQUEST, RFC_RESPONSE

YES, NO, MORE = Detection.YES, Detection.NO, Detection.NEED_MORE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 section 3.4
STRANGERS = [
    PREFACE,
    b"*1\r\n$4\r\nPING\r\n",
    b"PING\r\n",
    b"SET key value\r\n",
    b"EHLO example.com\r\n",
    b"GET /\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16/",
    b"\x16\x03\x01\x02\x00",
    b"get / HTTP/1.1\r\n",
    b"A" * 21 + b" / HTTP/1.1\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
]


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.0\n",
        b"CONNECT db:5432 HTTP/1.1\r\n",
        b"CONNECT [::1]:443 HTTP/1.1\r\n",
        b"GET http://h/a HTTP/1.1\r\n",
        b"PROPFIND /dav/\xff HTTP/1.1\r\n",
    ],
)
def test_request_lines(line: bytes) -> None:
    assert judge_request(line) is YES
    for size in range(len(line)):
        assert judge_request(line[:size]) is MORE


@pytest.mark.parametrize("data", STRANGERS)
def test_strangers(data: bytes) -> None:
    assert HTTP1.detect(data, b"") is NO
    for size in range(len(data)):
        assert HTTP1.detect(data[:size], b"") is not YES


def test_long_lines_are_judged_early() -> None:
    assert judge_request(b"GET /" + b"a" * 300) is YES
    assert judge_request(b"BREW /" + b"a" * 300) is MORE
    assert judge_request(b"BREW /" + b"a" * MAX_START_LINE_SIZE) is NO


def test_both_directions() -> None:
    assert HTTP1.detect(b"", b"") is MORE
    assert HTTP1.detect(RFC_REQUEST, b"") is YES
    assert HTTP1.detect(RFC_REQUEST, RFC_RESPONSE) is YES
    assert HTTP1.detect(RFC_REQUEST, b"220 smtp ready\r\n") is NO
    assert HTTP1.detect(b"", b"+OK ready\r\n") is NO
    assert HTTP1.detect(b"", b"HTTP/1.1 408 Timeout\r\n") is YES
    assert HTTP1.detect(b"GE", b"") is MORE
    assert judge_response(b"HTTP") is MORE


def test_resumption() -> None:
    assert HTTP1.resynchronise(b"", b"") is MORE
    assert HTTP1.resynchronise(b"rest of a body", RFC_RESPONSE) is YES
    assert HTTP1.resynchronise(RFC_REQUEST, b"rest of a body") is YES
    assert HTTP1.resynchronise(b"rest", b"rest") is NO
    assert HTTP1.resynchronise(b"PO", b"rest") is MORE
    assert judge_resumption(RFC_REQUEST[1:]) is NO
    assert judge_resumption(b"OPTIONS") is MORE
    assert judge_resumption(b"OPTIONS * HTTP/1.1\r\n") is YES
