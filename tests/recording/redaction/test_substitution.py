"""What stands for a secret is of its class: as those read it that check it."""

from __future__ import annotations

import base64
import json
import uuid
from email.headerregistry import Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.redaction.forms import is_email
from kebpf.recording.redaction.substitution import Substitution

# Test numbers of the card schemes, as payment providers publish them.
CARDS = (
    "4242424242424242", "4000 0566 5566 5556", "5555-5555-5555-4444", "2223003122003222",
    "378282246310005", "3714 496353 98431", "6011111111111117", "30569309025904",
    "3566002020360505",
)  # fmt: skip
JWT = (  # the example of RFC 7519's introduction at jwt.io
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
)


def keep(text: str) -> str:
    return text


ONE = Substitution(b"key", keep)


def is_valid_card(text: str) -> bool:
    """Luhn's check as Wikipedia's table has it: doubled digits, 9 taken from those above 9."""
    digits = [int(one) for one in text if one.isdigit()]
    doubled = [2 * one - 9 * (one > 4) for one in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


@pytest.mark.parametrize("card", CARDS)
def test_a_card_stays_a_valid_one_of_its_scheme(card: str) -> None:
    changed = ONE.replace(card)
    digits = [one for one in changed if one.isdigit()]
    assert changed != card and is_valid_card(changed) and is_valid_card(card)
    before = [one for one in card if one.isdigit()]
    assert digits[:6] == before[:6] and digits[-4:] == before[-4:]
    assert [one.isdigit() for one in changed] == [one.isdigit() for one in card]


@given(st.emails())
def test_an_address_stays_one_of_nobody(text: str) -> None:
    changed = ONE.replace(text)
    if not is_email(text):
        return  # of a form that is not looked for: quoted, or with other marks
    domain = Address(addr_spec=changed).domain
    reserved = (".example", ".test", "example.com", "example.org", "example.net")
    assert domain.endswith(reserved) or domain in ("localhost", "test")


def test_an_address_keeps_its_length_and_its_own_domain_if_nobodys() -> None:
    for text in ("jane.doe+x@gmail.com", "jim@some-company.co.uk", "çelik@firma.com.tr"):
        changed = ONE.replace(text)
        assert len(changed) == len(text) and changed.endswith(".example")
        assert text.partition("@")[0] not in changed
    assert ONE.replace("jane@example.org").endswith("@example.org")
    assert ONE.replace("Jane@Gmail.com").lower() == ONE.replace("jane@gmail.com")
    assert ONE.replace("jane@gmail.com") != ONE.replace("jane@gmx.com")


def test_a_json_web_token_says_the_same_and_is_signed_otherwise() -> None:
    header, claims, signature = ONE.replace(JWT).split(".")
    assert [header, claims] == JWT.split(".")[:2]
    assert signature != JWT.rpartition(".")[2] and len(signature) == 43
    base64.urlsafe_b64decode(signature + "=")


def test_what_is_secret_in_a_token_is_replaced_too() -> None:
    other = Substitution(b"key", lambda text: text.replace("John Doe", "Xxxx Yyy"))
    claims = other.replace(JWT).split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["name"] == "Xxxx Yyy"


def test_signed_cookies_keep_what_they_say() -> None:
    payload = base64.urlsafe_b64encode(b'{"user": 7}').decode().rstrip("=")
    signed = f"{payload}.aQ8z1w.{'Ab3_' * 6}xyz"  # itsdangerous: payload, time, signature
    changed = ONE.replace(signed).split(".")
    assert changed[:2] == signed.split(".")[:2] and changed[2] != signed.split(".")[2]
    express = "s:visitor-4711.qL2mVx0PpT3hYt6wZb9sKd1fGj5nRc8aEu7iOo4lQkM"
    assert ONE.replace(express).startswith("s:visitor-4711.") is False
    assert len(ONE.replace(express)) == len(express)


@pytest.mark.parametrize(
    "stored",
    [
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",  # bcrypt's own example
        "pbkdf2_sha256$600000$aBcDeF123456$YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo0NTY3ODk=",
        "scrypt:32768:8:1$Abcdef12$" + "0f1e2d3c" * 16,
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
    ],
)
def test_a_stored_password_keeps_how_it_was_made(stored: str) -> None:
    changed = ONE.replace(stored)
    assert changed != stored and len(changed) == len(stored)
    cut = 29 if stored.startswith("$2b") else stored.rindex("$") + 1
    assert changed[:cut] == stored[:cut]
    assert changed[cut:] != stored[cut:]


def test_the_makers_mark_of_a_token_stays() -> None:
    for token, mark in (
        ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_"),
        ("xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy", "xoxb-"),
    ):
        changed = ONE.replace(token)
        assert changed.startswith(mark) and changed != token and len(changed) == len(token)


def test_a_uuid_keeps_version_and_variant() -> None:
    for _ in range(20):
        one = uuid.uuid4()
        changed = uuid.UUID(ONE.replace(str(one)))
        assert changed != one and (changed.version, changed.variant) == (4, one.variant)


@given(st.binary(min_size=16, max_size=48))
def test_base64_stays_such_that_a_strict_reader_takes_it(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    changed = ONE.replace(text)
    assert len(changed) == len(text)
    assert base64.b64encode(base64.b64decode(changed, validate=True)).decode() == changed
