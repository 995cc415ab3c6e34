"""The server's end of TLS against Python's client, in memory, however the bytes are cut."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.recording.model import Tls
from kebpf.replay.certificates import Authority
from kebpf.replay.tlsend import Encryption, TlsEnd, TlsError

AUTHORITY = Authority()
ENCRYPTION = Encryption(AUTHORITY)


class Client:
    """Python's own client, without a socket."""

    def __init__(self, name: str = "api.example", **settings: object) -> None:
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for key, value in settings.items():
            setattr(context, key, value)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def shake(self) -> bytes:
        """What is to be sent; nothing once it is done with that."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def shake(client: Client, end: TlsEnd, size: int = 1 << 20) -> None:
    while data := client.shake():
        for at in range(0, len(data), size):
            assert end.receive(data[at : at + size]) == b""
            client.incoming.write(end.take_unsent())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.lists(st.binary(max_size=40_000), max_size=3), st.integers(1, 9_000))
def test_what_one_side_writes_the_other_reads(size: int, pieces: list[bytes], cut: int) -> None:
    client, end = Client(), ENCRYPTION.open("10.0.0.7")
    shake(client, end, size)
    assert end.facts == Tls("api.example", "", "TLSv1.3")
    for piece in pieces:
        client.tls.write(piece)
        sent = client.outgoing.read()
        got = [end.receive(sent[at : at + cut]) for at in range(0, len(sent), cut)]
        assert b"".join(got) == piece
        client.incoming.write(end.send(piece))
        read = b""
        while len(read) < len(piece):
            read += client.tls.read(1 << 16)
        assert read == piece


def test_both_may_say_that_no_more_comes() -> None:
    client, end = Client(), ENCRYPTION.open("10.0.0.7")
    shake(client, end)
    client.tls.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    assert end.receive(client.outgoing.read()) == b"last"
    assert end.is_ended
    client.incoming.write(end.close())
    client.tls.unwrap()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_refuses_is_quoted(version: ssl.TLSVersion) -> None:
    end = ENCRYPTION.open("10.0.0.7")
    client = Client()
    stranger = ssl.create_default_context()
    stranger.maximum_version = version
    client.tls = stranger.wrap_bio(client.incoming, client.outgoing, server_hostname="x.example")
    end.receive(client.shake())
    client.incoming.write(end.take_unsent())
    with pytest.raises(ssl.SSLCertVerificationError):
        client.tls.do_handshake()
    with pytest.raises(TlsError) as caught:
        end.receive(client.outgoing.read())
    assert caught.value.alert == "unknown ca"


def test_what_is_no_handshake_is_an_error_without_an_alert() -> None:
    end = ENCRYPTION.open("10.0.0.7")
    with pytest.raises(TlsError) as caught:
        end.receive(b"\x16\x03\x01\x00\x06\x01" + bytes(5))
    assert caught.value.alert == ""


@pytest.mark.parametrize("name", ["10.0.0.9", "under_score.example", "x" * 63 + ".example"])
def test_any_name_gets_its_certificate(name: str) -> None:
    client, end = Client(name), ENCRYPTION.open("10.0.0.9")
    shake(client, end)
    assert end.is_open
