"""Secrets beside names that tell, in all the ways in which programs write such pairs."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.redaction.assignments import Assignments
from kebpf.recording.redaction.names import Names
from kebpf.recording.redaction.rules import Rules

ASSIGNMENTS = Assignments(Names(), Rules(keep=["csrf*"]))


def find(text: str) -> list[str]:
    return [span.value for span in ASSIGNMENTS.find(text)]


@given(st.text(min_size=1, max_size=40), st.sampled_from([True, False]), st.sampled_from([None, 2]))
def test_values_of_json_are_found_as_json_reads_them(
    value: str, is_ascii: bool, indent: int | None
) -> None:
    tree = {"name": "x", "auth": {"password": value}, "n": 7}
    text = json.dumps(tree, ensure_ascii=is_ascii, indent=indent)
    found = find(text)
    if found:
        assert found == [value]
    else:
        assert ASSIGNMENTS.judge("password", value) is None


@given(st.text(min_size=1, max_size=40).filter(lambda text: "\r" not in text))
def test_values_of_forms_are_found_as_urllib_writes_them(value: str) -> None:
    text = urlencode([("user", "x"), ("password", value), ("z", "")])
    found = [span.value for span in ASSIGNMENTS.find_pairs(text)]
    assert found == ([] if ASSIGNMENTS.judge("password", value) is None else [value])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"log": "{\\"client_secret\\": \\"x\\\\\\"yz12345\\"}"}', ['x\\\\\\"yz12345']),
        ('{"a": 1, "secrets": ["one", "t\\u0077o"], "b": ["c"]}', ["one", "two"]),
        ('{"pin": 1234, "otp": 987654}', ["1234", "987654"]),
        ("password=hunter2 user=bob", ["hunter2"]),
        ("host=db user=shop password='it''s' sslmode=off", ["it"]),
        ('mutation { login(email: "a", password: "b c") { token } }', ["b c"]),
        ("<login><name>Bob</name><password>a &amp; b</password></login>", ["a & b"]),
        ('<input type="hidden" name="token" value="a1b2">', ["a1b2"]),
        ('<input value="a1b2" name="secret"/>', ["a1b2"]),
        (
            '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\nopen sesame\r\n--x--',
            ["open sesame"],
        ),
        ('{"access_token": "cut off at the en', []),
        ('{"token_type": "bearer", "expires_in": 3600, "tokens": 12}', []),
        ('{"password": null, "secret": "", "token": "***", "api_key": "${KEY}"}', []),
        ('{"csrf_token": "kept because the rules say so"}', []),
        ('{"key": "logo"}', []),
        ('{"key": "qL2mVx0PpT3hYt6wZb9sKd1f"}', ["qL2mVx0PpT3hYt6wZb9sKd1f"]),
        ("the token: the thing that tells", []),
    ],
)
def test_other_ways_to_write_them(text: str, values: list[str]) -> None:
    assert find(text) == values


@given(st.text(max_size=200))
def test_any_text_is_looked_into_without_an_error(text: str) -> None:
    for span in [*ASSIGNMENTS.find(text), *ASSIGNMENTS.find_pairs(text)]:
        assert 0 <= span.start < span.end <= len(text)


@pytest.mark.parametrize(
    "piece", ['"password":', "password=", "<a", '{"a":[', '\\"', "a=b&", 'name="']
)
def test_a_long_text_takes_no_longer_than_its_length_says(piece: str) -> None:
    assert len(find(piece * 20_000)) < 40_000  # or the test's own limit of time ends it
