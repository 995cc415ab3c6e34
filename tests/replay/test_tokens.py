"""Tokens as PyJWT's documentation writes them, made here from RFC 7519 alone."""

from __future__ import annotations

import base64
import json
from typing import Any

from kebpf.recording.model import TestCase, Timing
from kebpf.replay.tokens import describe_expired, find_expired
from tests.replay.sets import make_case

SECOND = 1_000_000_000
RECORDED = 1_700_000_000  # seconds
NOW_NS = (RECORDED + 3 * 86_400 + 60) * SECOND
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def make_token(**claims: Any) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
    return b".".join([*encoded, b"c2lnbmF0dXJl" * 3]).decode()


def make_request(name: str, token: str, body: str = "") -> TestCase:
    request = f"GET /{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    answer = ANSWER % (len(body), body.encode())
    timing = Timing(RECORDED * SECOND, RECORDED * SECOND + 1)
    return make_case(name, request.encode(), answer, timing=timing)


def find(*cases: TestCase) -> list[tuple[str, int]]:
    return [(one.case, one.expiry_ns // SECOND) for one in find_expired(cases, NOW_NS)]


def test_a_token_that_ended_since_is_found() -> None:
    case = make_request("a", make_token(exp=RECORDED + 60))
    assert find(case) == [("a", RECORDED + 60)]


def test_one_that_had_ended_when_it_was_recorded_is_meant_so() -> None:
    assert find(make_request("a", make_token(exp=RECORDED - 60))) == []


def test_one_that_is_valid_or_does_not_end_is_not() -> None:
    valid = make_request("a", make_token(exp=NOW_NS // SECOND + 60))
    for_ever = make_request("b", make_token(sub="someone"))
    strange = make_request("c", make_token(exp="tomorrow"))
    assert find(valid, for_ever, strange, make_request("d", "eyJhbGciOi.e30.x")) == []


def test_one_that_the_application_gave_out_will_be_a_new_one() -> None:
    token = make_token(exp=RECORDED + 60)
    log_in = make_request("login", "none", json.dumps({"token": token}))
    assert find(log_in, make_request("a", token)) == []
    assert find(make_request("a", token), log_in) == [("a", RECORDED + 60)]


def test_a_person_is_told_how_many_since_when_and_what_to_do() -> None:
    cases = [make_request(name, make_token(exp=RECORDED + 60)) for name in "abcde"]
    said = describe_expired(find_expired(cases, NOW_NS), NOW_NS)
    assert "5 cases carry tokens (JWT)" in said and "3 days ago: a, b, c and 2 more" in said
    assert "--clock recorded" in said
