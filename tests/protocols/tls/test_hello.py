"""What real greetings say: OpenSSL's, as both ends of it know it."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.tls.hello import (
    CLIENT_HELLO,
    SERVER_HELLO,
    Hello,
    begins_client_hello,
    read_hello,
)
from kebpf.protocols.tls.records import RecordReader
from tests.protocols.tls.greeting import Conversation, make_client_context, make_server_context

_VERSIONS = {ssl.TLSVersion.TLSv1_2: "1.2", ssl.TLSVersion.TLSv1_3: "1.3"}


def first_body(data: bytes) -> bytes:
    return RecordReader().receive_data(data)[0].body


@pytest.mark.parametrize("version", list(_VERSIONS))
@pytest.mark.parametrize("name", ["shop.example", None])
@pytest.mark.parametrize("alpn", [[], ["h2", "http/1.1"]])
def test_real_greetings(
    tmp_path: Path, version: ssl.TLSVersion, name: str | None, alpn: list[str]
) -> None:
    context = make_server_context(tmp_path, ["http/1.1"])
    talk = Conversation(context, make_client_context(version, alpn), name)
    talk.shake_hands()
    assert begins_client_hello(talk.sent[0]) is True
    assert begins_client_hello(talk.sent[1]) is False
    asked = read_hello(first_body(talk.sent[0]), CLIENT_HELLO)
    assert asked == Hello(name or "", tuple(alpn), "1.2")  # RFC 8446, 4.1.2: the legacy version
    chosen = talk.ends[0].selected_alpn_protocol()
    answer = read_hello(first_body(talk.sent[1]), SERVER_HELLO)
    assert answer is not None and answer.version == _VERSIONS[version]
    is_secret = version is ssl.TLSVersion.TLSv1_3
    assert answer.alpn == (() if is_secret or chosen is None else (chosen,))


def test_another_message_is_no_greeting(tmp_path: Path) -> None:
    context = make_server_context(tmp_path, [])
    talk = Conversation(context, make_client_context(ssl.TLSVersion.TLSv1_2, []), None)
    talk.shake_hands()
    assert read_hello(first_body(talk.sent[0]), SERVER_HELLO) is None


def test_too_few_bytes_to_say() -> None:
    assert begins_client_hello(b"") is begins_client_hello(b"\x16\x03\x01\0\xff\x01\0\0") is None
    assert begins_client_hello(b"\x16\x02") is begins_client_hello(b"\x17") is False


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    for body in (data, bytes([CLIENT_HELLO]) + len(data).to_bytes(3, "big") + data):
        with contextlib.suppress(ProtocolError):
            read_hello(body, CLIENT_HELLO)
