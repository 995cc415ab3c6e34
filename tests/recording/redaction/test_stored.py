"""Hashes of passwords are told from others, and made anew as those check them that made them."""

from __future__ import annotations

import base64
import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from kebpf.recording.redaction.stored import (
    Prover,
    Stored,
    choose_maker,
    count_rounds,
    looks_stored,
    pair_stored,
)

PASSWORD, NEW = "correct horse ü", "qkzrxvp mwbtd ê"


def derive(password: str, salt: bytes, rounds: int) -> bytes:
    return PBKDF2HMAC(hashes.SHA256(), 32, salt, rounds).derive(password.encode())


def django(password: str) -> str:
    digest = base64.b64encode(derive(password, b"aBcDeF1234", 1000)).decode()
    return f"pbkdf2_sha256$1000$aBcDeF1234${digest}"


def werkzeug(password: str) -> str:
    return f"pbkdf2:sha256:1200$Salt1234${derive(password, b'Salt1234', 1200).hex()}"


def werkzeug_scrypt(password: str) -> str:
    digest = Scrypt(b"Salt1234", 64, n=1024, r=8, p=1).derive(password.encode())
    return f"scrypt:1024:8:1$Salt1234${digest.hex()}"


def passlib(password: str) -> str:
    salt, digest = (
        base64.b64encode(one).decode().rstrip("=").replace("+", ".")
        for one in (b"0123456789abcdef", derive(password, b"0123456789abcdef", 900))
    )
    return f"$pbkdf2-sha256$900${salt}${digest}"


def keep(text: str) -> str:
    return text


@pytest.mark.parametrize("make", [django, werkzeug, werkzeug_scrypt, passlib])
def test_a_hash_that_is_the_passwords_becomes_the_one_of_the_stand_in(make: type) -> None:
    prover = Prover()
    assert prover.remake(PASSWORD, Stored(make(PASSWORD)), NEW, keep) == make(NEW)
    assert prover.remake("another", Stored(make(PASSWORD)), NEW, keep) is None


@pytest.mark.parametrize(
    ("password", "stored"),
    [  # a test vector of crypt_blowfish; one by `openssl passwd -6`
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJ"
            "uesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
    ],
)
def test_crypt_of_the_host(password: str, stored: str) -> None:
    made = Prover().remake(password, Stored(stored), NEW, keep)
    assert made is not None and made != stored and made[:14] == stored[:14]
    assert Prover().remake(NEW, Stored(made), password, keep) == stored


@pytest.mark.parametrize("rounds", [1, 2, 4096])
def test_the_rounds_of_pbkdf2_are_counted(rounds: int) -> None:
    digest = derive(PASSWORD, b"salt", rounds)
    assert count_rounds("sha256", PASSWORD.encode(), b"salt", digest) == rounds
    vector = bytes.fromhex("4b007901b765489abead49d926f721d065a429c1")  # RFC 6070
    assert count_rounds("sha1", b"password", b"salt", vector) == 4096


def test_a_salt_in_a_column_of_its_own() -> None:
    salt = secrets.token_hex(16)

    def other(text: str) -> str:
        return text[::-1]

    for read in (str.encode, bytes.fromhex):
        stored = Stored(derive(PASSWORD, read(salt), 700).hex(), ("x", salt))
        wanted = derive(NEW, read(other(salt)), 700).hex()
        assert Prover().remake(PASSWORD, stored, NEW, other) == wanted
    for join in ("{1}{0}", "{0}{1}"):
        data = hashlib.sha1(join.format(PASSWORD, salt).encode()).hexdigest()
        wanted = hashlib.sha1(join.format(NEW, other(salt)).encode()).hexdigest()
        assert Prover().remake(PASSWORD, Stored(data, (salt,)), NEW, other) == wanted


@pytest.mark.parametrize("cost", [1 << 10, 1 << 14])
def test_a_scheme_of_the_programs_own(cost: int) -> None:
    salt = secrets.token_bytes(16)

    def make(password: str) -> str:
        digest = Scrypt(salt, 64, n=cost, r=8, p=1).derive(password.encode())
        return "$".join(("scrypt", *(base64.b64encode(one).decode() for one in (salt, digest))))

    assert looks_stored(make(PASSWORD))
    assert Prover().remake(PASSWORD, Stored(make(PASSWORD)), NEW, keep) == make(NEW)


def test_what_takes_too_long_is_not_tried() -> None:
    assert choose_maker("$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW") is None
    assert choose_maker("pbkdf2_sha256$900000000$salt$" + "a" * 44) is None
    assert choose_maker("scrypt:1073741824:8:1$salt$" + "ab" * 64) is None
    assert choose_maker("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4") is None
    assert Prover(0).remake(PASSWORD, Stored(django(PASSWORD)), NEW, keep) is None


def test_hashes_among_other_values() -> None:
    digest = "ab" * 32
    assert looks_stored(digest) and looks_stored(django(PASSWORD))
    assert not looks_stored("correct horse") and not looks_stored("abcd")
    assert list(pair_stored(["salt", digest])) == [Stored(digest, ("salt",))]
