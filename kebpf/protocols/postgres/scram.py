"""The server's side of SCRAM-SHA-256, bound to the TLS it runs in or not (RFC 5802, 5929, 7677).

A server has one password to compare with; here any of several may be the client's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from kebpf.protocols.base import ProtocolError

PLAIN, BOUND = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
ITERATIONS = 4096
_NONCE_SIZE, _SALT_SIZE = 18, 16


class WrongPasswordError(Exception):
    """None of the passwords is the client's."""


@dataclass(frozen=True, slots=True)
class Login:
    """What is known of a client's credentials.

    ``is_insisting``: it accepts no server that lets it in without having them; ``in_the_clear``
    also where it is not bound to a certificate.  ``certificate`` is the hash of the one it was
    shown (RFC 5929, 4.1), empty without TLS.
    """

    passwords: Sequence[str] = ()
    is_insisting: bool = False
    in_the_clear: bool = False
    certificate: bytes = b""

    @property
    def is_to_be_asked(self) -> bool:
        """Whether it can be, and has to be: who has no password goes away when asked for it."""
        is_meant = self.is_insisting and (bool(self.certificate) or self.in_the_clear)
        return is_meant and bool(self.passwords)


class Scram:
    """One exchange; what is given and taken is what the protocol's messages carry."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._salt = secrets.token_bytes(_SALT_SIZE)
        self._nonce = ""
        self._header = b""
        self._spoken = ""  # the AuthMessage so far

    @property
    def mechanisms(self) -> list[str]:
        """Those offered, best first."""
        return [BOUND, PLAIN] if self._login.certificate else [PLAIN]

    def begin(self, mechanism: str, message: bytes) -> bytes:
        """Takes the client's first message; gives ours.  Raises `ProtocolError`."""
        text = _decode(message)
        flag, _, rest = text.partition(",")
        identity, _, bare = rest.partition(",")
        if mechanism not in self.mechanisms or flag.startswith("p=") != (mechanism == BOUND):
            raise ProtocolError(f"the SASL mechanism {mechanism[:40]!r} does not fit its message")
        self._header = f"{flag},{identity},".encode()
        if mechanism == BOUND:
            self._header += self._login.certificate
        self._nonce = _read(bare, "r") + secrets.token_urlsafe(_NONCE_SIZE)
        salt = base64.b64encode(self._salt).decode()
        answer = f"r={self._nonce},s={salt},i={ITERATIONS}"
        self._spoken = f"{bare},{answer}"
        return answer.encode()

    def end(self, message: bytes) -> bytes:
        """Takes the client's proof; gives ours.

        Raises `WrongPasswordError`, and `ProtocolError` for what is none of this.
        """
        text = _decode(message)
        without, _, proof = text.rpartition(",p=")
        bound = _decode64(_read(without, "c"))
        if bound != self._header or _read(without, "r") != self._nonce:
            raise ProtocolError("a SCRAM message belongs to another channel or exchange")
        spoken = f"{self._spoken},{without}".encode()
        for password in self._login.passwords:
            signature = _prove(password, self._salt, spoken, _decode64(proof))
            if signature is not None:
                return b"v=" + base64.b64encode(signature)
        raise WrongPasswordError


def _prove(password: str, salt: bytes, spoken: bytes, proof: bytes) -> bytes | None:
    """The server's signature if the proof is made with the password (RFC 5802, 3)."""
    prepared = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, ITERATIONS)
    client_key = _sign(salted, b"Client Key")
    stored = hashlib.sha256(client_key).digest()
    wanted = bytes(a ^ b for a, b in zip(client_key, _sign(stored, spoken), strict=True))
    if not hmac.compare_digest(wanted, proof):
        return None
    return _sign(_sign(salted, b"Server Key"), spoken)


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _read(text: str, name: str) -> str:
    for field in text.split(","):
        if field.startswith(f"{name}="):
            return field[2:]
    raise ProtocolError(f"a SCRAM message has no {name!r}")


def _decode(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a SCRAM message is no text") from None


def _decode64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("a SCRAM message holds no base64") from None
