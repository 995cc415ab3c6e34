"""A token that says something else is another token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any

from kebpf.replay.binding import Bindings

CLAIMS = {"sub": "alice", "roles": ["user"], "iat": 1_700_000_000, "exp": 1_700_003_600}


def make_token(key: bytes = b"secret", **changes: Any) -> str:
    """An HS256 token (RFC 7515 section 3.1)."""
    parts = ({"alg": "HS256", "typ": "JWT"}, CLAIMS | changes)
    signed = ".".join(_encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_another_time_and_signature_are_the_same_token() -> None:
    new = make_token(b"other", iat=1_760_000_000, exp=1_760_003_600)
    assert Bindings().bind(make_token(), new, "jwt")


def test_what_it_says_counts() -> None:
    for changes in (
        {"sub": "mallory"},
        {"roles": ["user", "admin"]},
        {"roles": ["user"], "admin": True},
        {"iat": 1_760_000_000, "exp": 1_760_086_400},
        {"iat": "1700000000"},
    ):
        assert not Bindings().bind(make_token(), make_token(**changes), "jwt"), changes


def test_random_and_bound_claims() -> None:
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    assert Bindings().bind(make_token(jti=one), make_token(jti=two), "jwt")
    bindings = Bindings()
    bindings.bind(one, two, "uuid4")
    assert bindings.bind(make_token(sub=one), make_token(sub=two), "jwt")
    other = make_token(b"x", sub=str(uuid.uuid5(uuid.NAMESPACE_DNS, "x")))
    assert not bindings.bind(make_token(b"y", sub=one), other, "jwt")
