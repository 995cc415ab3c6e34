"""Tests of kebpf.recording.slugs."""

from __future__ import annotations

import base64
import random
import string

import pytest

from kebpf.recording.slugs import PROOFS_NEEDED, Slugs, look_drawn

LOWER = "23456789abcdefghjkmnpqrstuvwxyz"
SOME = random.Random(7)
SLUGS = ["".join(SOME.choices(LOWER, k=10)) for _ in range(8)]


def learn(slugs: Slugs, values: list[str], before: str = "T-") -> None:
    for number, value in enumerate(values, 1):
        slugs.learn("INSERT", [("/parameters/0", f"{before}{value}")], number * 1000)


def classes(slugs: Slugs, text: str) -> list[tuple[str, str]]:
    return [(token.text, token.class_name) for token in slugs.find(text)]


@pytest.mark.parametrize(
    ("alphabet", "size", "charset"),
    [
        (LOWER, 10, "lower"),
        (string.ascii_uppercase + string.digits, 10, "UPPER"),
        (string.hexdigits[:16], 12, "hex"),
        (string.ascii_letters + string.digits, 12, "token"),
        (string.ascii_letters + string.digits + "-_", 21, "base64url"),
    ],
)
def test_random_texts_at_one_place(alphabet: str, size: int, charset: str) -> None:
    drawn = random.Random(3)
    values = ["".join(drawn.choices(alphabet, k=size)) for _ in range(9)]
    slugs = Slugs()
    learn(slugs, values, "ref: ")
    assert classes(slugs, f"/tickets/{values[0]}") == [(values[0], f"{charset}:{size}")]


def test_base64_with_all_its_characters() -> None:
    drawn = random.Random(3)
    salts = [base64.b64encode(drawn.randbytes(16)).decode() for _ in range(12)]
    slugs = Slugs()
    learn(slugs, [f"{salt}$rest" for salt in salts], "scrypt$")
    special = [salt[:22] for salt in salts if set(salt) & set("+/")]
    assert len(special) >= PROOFS_NEEDED
    for salt in special:
        assert classes(slugs, f"scrypt${salt}==$rest") == [(salt, "token:22")]


def test_paths_are_no_base64() -> None:
    slugs = Slugs()
    words = ("alpha/invoices/north", "omega/articles/south", "gamma/outgoing/water")
    learn(slugs, [*words, "sigma/incoming/amber", "delta/packages/stone"], "at ")
    assert not slugs.is_known


def test_too_few_do_not_tell() -> None:
    slugs = Slugs()
    learn(slugs, SLUGS[: PROOFS_NEEDED - 1])
    assert not slugs.is_known
    assert classes(slugs, SLUGS[0]) == []


def test_what_never_stood_at_a_proved_place_is_literal() -> None:
    slugs = Slugs()
    learn(slugs, SLUGS)
    assert classes(slugs, "fcmqn46keg") == []


def test_what_came_in_first_refutes_its_place() -> None:
    slugs = Slugs()
    learn(slugs, SLUGS)
    slugs.take([f"/{SLUGS[2]}"], 2999)
    assert not slugs.is_known


def test_what_came_in_later_was_made_all_the_same() -> None:
    slugs = Slugs()
    slugs.take([f"/{SLUGS[2]}"], 3001)
    learn(slugs, SLUGS)
    assert classes(slugs, SLUGS[2]) == [(SLUGS[2], "lower:10")]


def test_one_made_twice_is_a_digest_or_a_code() -> None:
    slugs = Slugs()
    learn(slugs, [*SLUGS, SLUGS[1]])
    assert not slugs.is_known


def test_one_given_back_at_its_place_is_none_made_twice() -> None:
    slugs = Slugs()
    learn(slugs, [*SLUGS, SLUGS[1]])
    slugs.take([SLUGS[1]], 8500)
    assert slugs.is_known


def test_the_first_place_counts_whatever_is_told_first() -> None:
    slugs = Slugs()
    for number, value in enumerate(SLUGS, 1):
        slugs.learn("POST /links", [("/slug", value)], number * 1000 + 10)
    learn(slugs, SLUGS)
    learn(slugs, [])
    slugs.learn("POST /links", [("/slug", SLUGS[0])], 9999)
    assert slugs.is_known


def test_other_lengths_refute_a_place() -> None:
    slugs = Slugs()
    learn(slugs, [*SLUGS, "fcmqn46kegx"])
    assert not slugs.is_known


def test_a_uuid_is_none() -> None:
    slugs = Slugs()
    drawn = random.Random(5)
    values = [f"{drawn.getrandbits(128):032x}" for _ in range(8)]
    learn(slugs, [f"{v[:8]}-{v[8:12]}-{v[12:16]}-{v[16:20]}-{v[20:]}" for v in values], "")
    assert not slugs.is_known


@pytest.mark.parametrize(
    "texts",
    [
        ["customer17", "customer23", "customer42", "customer56", "customer91"],
        ["20261122T10", "20261123T11", "20261125T12", "20261127T13"],
        ["printers", "somebody", "keyboard", "password", "anything", "security"],
        ["SKU00017", "SKU00018", "SKU00021", "SKU00035"],
        [*sorted(SLUGS)],
    ],
)
def test_written_and_counted_texts_are_not_drawn(texts: list[str]) -> None:
    assert not look_drawn(texts)


def test_drawn_texts() -> None:
    assert look_drawn(SLUGS)
