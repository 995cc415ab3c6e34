"""Tokens of every common generator are found nearly always; words of any spelling never."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import pytest

from kebpf.recording.randomness import is_random

BASE36 = string.ascii_lowercase + string.digits
BASE62 = string.ascii_letters + string.digits
TOKENS = 2000


def drawn_from(alphabet: str, size: int) -> Callable[[random.Random], str]:
    return lambda source: "".join(source.choices(alphabet, k=size))


def encode(size: int) -> Callable[[random.Random], str]:
    return lambda source: base64.b64encode(source.randbytes(size)).decode()


@pytest.mark.parametrize(
    ("make", "per_thousand"),
    [
        pytest.param(drawn_from(BASE36, 32), 8, id="a Django session key"),
        pytest.param(drawn_from(BASE62, 32), 4, id="a Django CSRF token"),
        pytest.param(drawn_from(f"{BASE62}-_", 21), 8, id="a nanoid"),
        pytest.param(drawn_from(BASE36, 24), 12, id="a cuid2"),
        pytest.param(drawn_from("abcdefghijklmnopqrstuvwxyz234567", 26), 8, id="base32"),
        pytest.param(drawn_from(string.ascii_lowercase, 26), 8, id="letters alone"),
        pytest.param(encode(16), 12, id="base64 of 16 bytes"),
        pytest.param(encode(20), 5, id="base64 of a SHA-1"),
        pytest.param(encode(32), 1, id="base64 of 32 bytes"),
    ],
)
def test_drawn_tokens_are_found(make: Callable[[random.Random], str], per_thousand: int) -> None:
    source = random.Random(20_261_122)
    missed = [token for token in (make(source) for _ in range(TOKENS)) if not is_random(token)]
    assert 1000 * len(missed) <= per_thousand * TOKENS, missed


@pytest.mark.parametrize(
    "text",
    [
        "donaudampfschifffahrtsgesellschaft",
        "antidisestablishmentarianism",
        "internationalizationcommittee",
        "ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
        "abcdefghijklmnopqrstuvwxyz",
        "TLS_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "x86_64-unknown-linux-gnu",
        "HTTPPasswordMgrWithPriorAuth",
        "convertToTitleCaseAndTrim2",
        "llanfairpwllgwyngyllgogerych"[:20] + "station",
        base64.b64encode(b"an ordinary sentence").decode(),
    ],
)
def test_what_was_written_is_not(text: str) -> None:
    assert not is_random(text)
