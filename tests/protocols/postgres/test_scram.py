"""SCRAM's own example (RFC 7677, 3), and what fits no exchange."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.postgres.scram import (
    BOUND,
    ITERATIONS,
    PLAIN,
    Login,
    Scram,
    WrongPasswordError,
    _prove,
)

FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CERTIFICATE = hashlib.sha256(b"certificate").digest()


def test_the_rfcs_own_exchange() -> None:
    """The whole of its AuthMessage, password and salt, and the two proofs it gives."""
    spoken = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = _prove("pencil", salt, spoken, proof)
    assert signature == base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert _prove("pen", salt, spoken, proof) is None


def answer(server_first: bytes, bare: str, header: bytes, password: str) -> bytes:
    """A client's last message, by the book (RFC 5802, 3)."""
    fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
    salt, count = base64.b64decode(fields["s"]), int(fields["i"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, count)
    without = f"c={base64.b64encode(header).decode()},r={fields['r']}"
    spoken = f"{bare},{server_first.decode()},{without}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), spoken, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return f"{without},p={base64.b64encode(proof).decode()}".encode()


@pytest.mark.parametrize("passwords", [["right"], ["other", "right", "more"]])
@pytest.mark.parametrize("is_bound", [False, True])
def test_any_of_the_passwords_may_be_the_clients(passwords: list[str], is_bound: bool) -> None:
    scram = Scram(Login(passwords, certificate=CERTIFICATE if is_bound else b""))
    assert scram.mechanisms == ([BOUND, PLAIN] if is_bound else [PLAIN])
    head = b"p=tls-server-end-point,," if is_bound else b"n,,"
    server_first = scram.begin(scram.mechanisms[0], head + b"n=,r=abc")
    assert f",i={ITERATIONS}".encode() in server_first
    header = head + (CERTIFICATE if is_bound else b"")
    assert scram.end(answer(server_first, "n=,r=abc", header, "right")).startswith(b"v=")


def test_no_password_and_another_channel_are_refused() -> None:
    scram = Scram(Login(["other"], certificate=CERTIFICATE))
    server_first = scram.begin(BOUND, b"p=tls-server-end-point,,n=,r=abc")
    header = b"p=tls-server-end-point,,"
    with pytest.raises(ProtocolError, match="another channel"):
        scram.end(answer(server_first, "n=,r=abc", header + b"x" * 32, "right"))
    with pytest.raises(WrongPasswordError):
        scram.end(answer(server_first, "n=,r=abc", header + CERTIFICATE, "right"))


@given(st.sampled_from([PLAIN, BOUND, "x"]), st.binary(max_size=60), st.binary(max_size=60))
def test_garbage_is_a_protocol_error(mechanism: str, first: bytes, last: bytes) -> None:
    scram = Scram(Login(["right"], certificate=CERTIFICATE))
    with pytest.raises((ProtocolError, WrongPasswordError)):
        scram.begin(mechanism, first)
        scram.end(last)
