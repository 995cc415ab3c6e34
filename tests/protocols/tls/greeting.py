"""A real TLS conversation between two ends of OpenSSL, in memory: bytes by sender."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

_BEGIN, _END = 1_700_000_000, 4_000_000_000


def make_server_context(folder: Path, alpn: list[str]) -> ssl.SSLContext:
    """A server with a certificate of its own."""
    import datetime as dt

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime.fromtimestamp(_BEGIN, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(_END, dt.UTC))
        .sign(key, SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(alpn)
    return context


def make_client_context(version: ssl.TLSVersion, alpn: list[str]) -> ssl.SSLContext:
    """A client that trusts anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(alpn)
    return context


class Conversation:
    """Both ends, and all they sent: ``sent[0]`` by the client, ``sent[1]`` by the server."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> None:
        self.sent = [b"", b""]
        self._in = [ssl.MemoryBIO(), ssl.MemoryBIO()]
        self._out = [ssl.MemoryBIO(), ssl.MemoryBIO()]
        self.ends = (
            client.wrap_bio(self._in[0], self._out[0], server_hostname=name),
            server.wrap_bio(self._in[1], self._out[1], server_side=True),
        )

    def shake_hands(self) -> None:
        done = [False, False]
        while not all(done):
            for side in (0, 1):
                try:
                    self.ends[side].do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    pass
                self.carry(side)

    def carry(self, side: int) -> None:
        """What one end has to send goes to the other."""
        data = self._out[side].read()
        self.sent[side] += data
        self._in[1 - side].write(data)

    def say(self, side: int, data: bytes) -> bytes:
        """Sends data; what the other end got."""
        self.ends[side].write(data)
        self.carry(side)
        return self.ends[1 - side].read(len(data))
