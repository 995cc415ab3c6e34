"""Which cases of a redacted set need others, and which are set apart."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from kebpf.recording.casemaker import NOT_GIVEN, UNKNOWN_CREDENTIAL, UNPROVED
from kebpf.recording.model import RecordedExchange
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.redaction.rules import Rules
from kebpf.recording.store import TestSet, TestSetWriter
from tests.recording.builders import make_exchange, make_request, make_response
from tests.recording.doubles import make_builder
from tests.recording.test_builder import call


def test_of_many_that_are_doubtful_few_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kebpf.recording.builder.MOST_HELD_DOUBTFUL", 2)
    redactor = Redactor(Rules(), b"key")
    builder = make_builder(TestSetWriter(tmp_path / "set"), redactor=redactor)
    for number in range(7):
        key = f"Bearer Zq3fYt8rK2mNb5VxW1LpQ7sD4hJ6gA0cEuIoTzRyk{number}"
        request = {**make_request(f"/{number}"), "headers": [["Authorization", key]]}
        recorded = make_exchange(10 + 20 * number, 20 + 20 * number, request=request)
        redactor.learn(recorded)
        builder.add(recorded)
    builder.finish()
    assert builder.stats.set_apart == {UNKNOWN_CREDENTIAL: 7}
    assert len(TestSet.open(tmp_path / "set").apart()) == 7


def test_what_the_program_checks_by_itself_is_set_apart_when_it_was_redacted(
    tmp_path: Path,
) -> None:
    key = "Bearer Zq3fYt8rK2mNb5VxW1LpQ7sD4hJ6gA0cEuIoTzRyk"
    asked = {**make_request("/asked"), "headers": [["Authorization", key + "1"]]}
    unasked = {**make_request("/unasked"), "headers": [["Authorization", key + "2"]]}
    refused = {**make_request("/refused"), "headers": [["Authorization", key + "3"]]}
    redactor = Redactor(Rules(), b"key")
    builder = make_builder(TestSetWriter(tmp_path / "set"), redactor=redactor)
    exchanges = [
        call("SELECT 1", 11, 12, args=[key.removeprefix("Bearer ") + "1"]),
        make_exchange(10, 20, request=asked),
        make_exchange(30, 40, request=unasked),
        make_exchange(50, 60, request=refused, response=make_response(status=401)),
    ]
    for recorded in exchanges:
        redactor.learn(recorded)
        builder.add(recorded)
    builder.finish()
    test_set = TestSet.open(tmp_path / "set")
    assert [case.request["target"] for case in test_set.cases()] == ["/asked", "/refused"]
    (apart,) = test_set.apart()
    assert apart.request["target"] == "/unasked" and apart.set_apart == UNKNOWN_CREDENTIAL
    assert test_set.manifest.set_apart == {apart.name: UNKNOWN_CREDENTIAL}
    assert builder.stats.test_cases == test_set.manifest.test_cases == 2
    assert builder.stats.set_apart == {UNKNOWN_CREDENTIAL: 1}
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").rglob("*.*"))
    assert key[7:].encode() not in written


def sign(subject: str) -> str:
    """What has the form of a JSON Web Token (RFC 7519)."""
    said = base64.urlsafe_b64encode(json.dumps({"sub": subject}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{said}.{secrets.token_urlsafe(32)}"


def ask(target: str, start: int, *tokens: str, status: int = 200) -> RecordedExchange:
    request = make_request(target)
    request["headers"] += [["Authorization", f"Bearer {token}"] for token in tokens]
    return make_exchange(start, start + 10, request=request, response=make_response(status=status))


def give(target: str, start: int, token: str, request: Any = None) -> RecordedExchange:
    response = make_response(json.dumps({"access_token": token}).encode())
    request = request or make_request(target)
    return make_exchange(start, start + 10, request=request, response=response)


def record_redacted(folder: Path, *exchanges: RecordedExchange) -> TestSet:
    redactor = Redactor(Rules(), b"key")
    builder = make_builder(TestSetWriter(folder), redactor=redactor)
    for recorded in exchanges:
        redactor.learn(recorded)
        builder.add(recorded)
    builder.finish()
    return TestSet.open(folder)


def test_a_case_needs_the_one_whose_response_signed_its_credential(tmp_path: Path) -> None:
    first, second, old = sign("1"), sign("2"), sign("3")
    test_set = record_redacted(
        tmp_path / "set",
        give("/login", 10, first),
        ask("/me", 30, first),
        call("SELECT token", 31, 32, args=[first]),
        give("/refresh", 50, second, ask("/refresh", 50, first).exchange.request),
        ask("/missing", 70, second, status=404),
        ask("/plain", 90),
        ask("/expired", 110, old, status=401),
        ask("/old", 130, old, status=404),
    )
    cases = {case.request["target"]: case for case in test_set.cases()}
    login, refresh = cases["/login"].name, cases["/refresh"].name
    assert {target: case.needs for target, case in cases.items()} == {
        "/login": [],
        "/me": [login],
        "/refresh": [login],
        "/missing": [refresh],
        "/plain": [],
        "/expired": [],
    }
    (apart,) = test_set.apart()
    assert (apart.request["target"], apart.set_apart) == ("/old", UNKNOWN_CREDENTIAL)


@pytest.mark.parametrize("is_left_out", [True, False])
def test_without_the_case_that_gave_it_a_credential_one_is_set_apart(
    tmp_path: Path, is_left_out: bool
) -> None:
    """It was left out, or itself is set apart."""
    token = sign("1")
    problem = "bytes were lost" if is_left_out else None
    request = make_request("/login", b'{"password": "tr0ub4dor&3"}', "POST")
    request["headers"] += [["Content-Type", "application/json"]]
    response = make_response(json.dumps({"access_token": token}).encode())
    hashed = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21l$" + secrets.token_hex(21)
    columns, rows = [{"name": "password_hash"}], [[hashed]]
    answer = {"results": [{"columns": columns, "rows": rows, "tag": "SELECT 1"}]}
    test_set = record_redacted(
        tmp_path / "set",
        call("SELECT password_hash FROM people", 11, 12, response=answer),
        make_exchange(10, 20, request=request, response=response, problem=problem),
        ask("/me", 30, token),
    )
    assert list(test_set.cases()) == []
    apart = {case.request["target"]: case.set_apart for case in test_set.apart()}
    assert apart == {"/me": NOT_GIVEN} | ({} if is_left_out else {"/login": UNPROVED})
