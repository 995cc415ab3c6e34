"""A token that says something else is another token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
import zlib
from typing import Any

import pytest

from kebpf.recording.provenance import Provenance
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings, pair_tokens

from .builders import RECORDED_NS, REPLAYED_NS, SECOND

RECORDED, REPLAYED = RECORDED_NS // SECOND, REPLAYED_NS // SECOND
THEN = Window(RECORDED_NS + 100_000_000, RECORDED_NS + 110_000_000)
NOW = Window(REPLAYED_NS + 100_000_000, REPLAYED_NS + 110_000_000)
SUB, OTHER_SUB = (str(uuid.UUID(int=n, version=4)) for n in (1, 2))
ONE, TWO = "7d0c9e5a-3b1f-4c62-9a8e-51f2d6b4037c", "c2a4f6e8-91d3-4b57-8e0f-6a1b3c5d7e92"
HS256 = {"alg": "HS256", "typ": "JWT"}


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def make_token(
    at: int, ttl: int = 3600, key: bytes = b"secret", header: Any = HS256, **changes: Any
) -> str:
    """An HS256 token (RFC 7515 section 3.1)."""
    claims = {"sub": SUB, "roles": ["user"], "iat": at, "exp": at + ttl} | changes
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def template_of(recorded: str, *inputs: str) -> str | None:
    """What recording makes of a token in a response to a request with some inputs."""
    made = Provenance().settle(list(inputs), [], {"token": recorded}, THEN)
    return made.response.get("/token")


def passes(recorded: str, actual: str, *inputs: str, bindings: Bindings | None = None) -> bool:
    template = template_of(recorded, *inputs)
    if template is None:
        return recorded == actual
    pairs = pair_tokens(template, recorded, actual)
    return pairs is not None and (bindings or Bindings()).try_bind(pairs, NOW)


def test_the_class_says_what_is_new_in_a_token() -> None:
    token = make_token(RECORDED, jti=ONE)
    assert template_of(token, SUB) == (
        "{jwt /claims/iat=<time:epoch_s> /claims/exp=<time:epoch_s@+3600> /claims/jti=<uuid4>}"
    )
    assert template_of(make_token(1_600_000_000), SUB) is None


def test_another_time_and_signature_are_the_same_token() -> None:
    assert passes(make_token(RECORDED), make_token(REPLAYED), SUB)
    assert passes(make_token(RECORDED, key=b"a"), make_token(REPLAYED, key=b"b"), SUB)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": OTHER_SUB},
        {"roles": ["user", "admin"]},
        {"admin": True},
        {"empty": {}},
        {"ttl": 86_400},
        {"ttl": 3660},
        {"ttl": 3601},
        {"iat": str(REPLAYED)},
        {"iat": float(REPLAYED)},
        {"iat": REPLAYED - 60},
        {"header": {"alg": "HS512", "typ": "JWT"}},
        {"header": HS256 | {"kid": "2"}},
    ],
)
def test_what_it_says_counts(changes: dict[str, Any]) -> None:
    assert not passes(make_token(RECORDED), make_token(REPLAYED, **changes), SUB)


def test_a_shorter_signature_is_another_algorithm() -> None:
    assert not passes(make_token(RECORDED), make_token(REPLAYED)[:-10], SUB)


def test_a_claim_that_came_in_is_exact_a_new_one_is_bound() -> None:
    recorded, actual = make_token(RECORDED, sub=ONE), make_token(REPLAYED, sub=TWO)
    assert not passes(recorded, actual, ONE)
    assert passes(recorded, actual)
    bindings = Bindings()
    assert passes(recorded, actual, bindings=bindings)
    assert bindings.to_actual(ONE) == TWO
    assert bindings.to_actual(f"Bearer {recorded}") == f"Bearer {actual}"
    bindings = Bindings()
    assert bindings.bind(ONE, SUB, "uuid4")
    assert not passes(recorded, actual, bindings=bindings)


def test_a_random_signature_over_equal_claims() -> None:
    header = {"alg": "ES256", "typ": "JWT"}
    tokens = [make_token(1, iat="x", exp="y", key=key, header=header) for key in (b"a", b"b")]
    assert template_of(tokens[0], SUB) == "{jwt}"
    assert passes(*tokens, SUB)
    assert not passes(tokens[0], make_token(1, iat="x", exp="z", header=header), SUB)


def sign(payload: str, at: int) -> str:
    """As itsdangerous does: payload, time and HMAC-SHA-1, with dots between."""
    stamp = encode(at.to_bytes(4, "big"))
    value = f"{payload}.{stamp}"
    return f"{value}.{encode(hmac.digest(b'k', value.encode(), hashlib.sha1))}"


def make_session(content: dict[str, Any], at: int) -> str:
    """A Flask session cookie: compressed if that makes it shorter."""
    raw = json.dumps(content, separators=(",", ":")).encode()
    packed = zlib.compress(raw)
    payload = "." + encode(packed) if len(packed) < len(raw) - 1 else encode(raw)
    return sign(payload, at)


@pytest.mark.parametrize("filler", ["", "a" * 200])
def test_a_signed_session_cookie(filler: str) -> None:
    def cookie(at: int, nonce: str, user: str = SUB) -> str:
        session = make_session({"nonce": nonce, "user": user, "notes": filler}, at)
        return f"session={session}; HttpOnly; Path=/"

    recorded = cookie(RECORDED, ONE)
    assert passes(recorded, cookie(REPLAYED, TWO), SUB)
    assert not passes(recorded, cookie(REPLAYED, TWO, OTHER_SUB), SUB)
    assert not passes(recorded, cookie(REPLAYED - 600, TWO), SUB)
    assert not passes(recorded, cookie(REPLAYED, "none"), SUB)


def test_an_opaque_cursor_is_what_it_says() -> None:
    def cursor(content: Any) -> str:
        return base64.b64encode(json.dumps(content).encode()).decode()

    old, new = cursor({"after": ONE, "n": 10}), cursor({"after": TWO, "n": 10})
    assert template_of(old) == "{json64 /after=<uuid4>}"
    assert passes(old, new)
    assert not passes(old, cursor({"after": TWO, "n": 20}))
    assert template_of(old, ONE) is None
