"""Adds a certificate to a Java trust store, whichever of its two forms it has.

What is written is always the older form (JKS): Java reads both under either name, and it holds
trusted certificates as they are, behind a digest that takes the store's password.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

USUAL_PASSWORD = "changeit"
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_HEAD = struct.Struct(">III")
_DIGEST_SIZE = 20
_SALT = b"Mighty Aphrodite"  # so it is in sun.security.provider.JavaKeyStore
_PKCS12 = b"\x30\x82"  # a large SEQUENCE


def is_keystore(data: bytes) -> bool:
    """Whether it begins as either form does."""
    return data[:4] == _MAGIC.to_bytes(4, "big") or data[:2] == _PKCS12


def add_to_keystore(
    data: bytes, alias: str, certificate: bytes, passwords: Sequence[str] = ()
) -> bytes:
    """The store with one more trusted certificate, given in DER.

    ``passwords`` are tried before the usual one.  Raises ``ValueError`` for what cannot be read.
    """
    tried = (*passwords, USUAL_PASSWORD)
    if data[:4] != _MAGIC.to_bytes(4, "big"):
        return _write_store([*_read_pkcs12(data, tried), (alias, certificate)], tried[0])
    if len(data) < _HEAD.size + _DIGEST_SIZE:
        raise ValueError("it is cut off")
    _, version, count = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"its version is {version}")
    entries, digest = data[_HEAD.size : -_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    password = next(
        (one for one in tried if _digest(data[:-_DIGEST_SIZE], one) == digest), tried[0]
    )
    return _close(_HEAD.pack(_MAGIC, version, count + 1) + entries, alias, certificate, password)


def _write_store(certificates: Sequence[tuple[str, bytes]], password: str) -> bytes:
    head = _HEAD.pack(_MAGIC, _VERSION, len(certificates))
    entries = b"".join(_write_entry(*one) for one in certificates[:-1])
    return _close(head + entries, *certificates[-1], password)


def _close(data: bytes, alias: str, certificate: bytes, password: str) -> bytes:
    data += _write_entry(alias, certificate)
    return data + _digest(data, password)


def _write_entry(alias: str, certificate: bytes) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    name = _write_text(alias)
    head = struct.pack(">I", _TRUSTED) + name + struct.pack(">Q", now_ms)
    return head + _write_text("X.509") + struct.pack(">I", len(certificate)) + certificate


def _write_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _digest(data: bytes, password: str) -> bytes:
    return hashlib.sha1(password.encode("utf-16-be") + _SALT + data).digest()


def _read_pkcs12(data: bytes, passwords: Sequence[str]) -> list[tuple[str, bytes]]:
    for password in (*(one.encode() for one in passwords), None):
        try:
            store = pkcs12.load_pkcs12(data, password)
        except ValueError:
            continue
        found = [*store.additional_certs, *([store.cert] if store.cert else [])]
        return [
            (_name(number, one), one.certificate.public_bytes(Encoding.DER))
            for number, one in enumerate(found)
        ]
    raise ValueError("its password is not known")


def _name(number: int, one: pkcs12.PKCS12Certificate) -> str:
    """Names are told apart without their case in a store, and may be missing."""
    text = (one.friendly_name or b"").decode(errors="replace").lower()
    return f"{text or 'certificate'}-{number}"


def read_pem(data: bytes) -> list[x509.Certificate]:
    """The certificates in a file, none if it is damaged."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        return []
