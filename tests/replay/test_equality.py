"""Answers are equal if they say the same, whenever and however they were sent."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.recording.model import Mock
from kebpf.replay.assignment import answer_key
from kebpf.replay.equality import answer_of
from kebpf.replay.index import Recorded

from .builders import make_mock

BODY = {"rate": "1.07"}
ONE, TWO = "7d0c9e5a-3b1f-4c62-9a8e-51f2d6b4037c", "c2a4f6e8-91d3-4b57-8e0f-6a1b3c5d7e92"
TYPE = ["content-type", "application/json"]


def answered(*headers: list[str], body: Any = None, status: int = 200) -> Mock:
    response = {"status": status, "headers": [TYPE, *headers], "body": body or BODY}
    mock = make_mock("GET /rates/USD", protocol="http")
    mock.response = response
    return mock


def key(mock: Mock) -> int:
    return answer_key(Recorded(0, mock, {}, str))


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("Date", "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:21 GMT"),
        ("Age", "0", "7"),
        ("Server-Timing", "db;dur=2.1", "db;dur=3.4"),
        ("x-request-id", "a1", "a2"),
        ("X-Supplier-Request", ONE, TWO),
        ("X-Served-At", "2023-11-14T22:13:20.000001+00:00", "2023-11-14T22:13:20.000002+00:00"),
    ],
)
def test_when_and_how_it_was_sent_does_not_count(name: str, one: str, other: str) -> None:
    first, second = answered([name, one]), answered([name, other])
    assert key(first) == key(second) == key(answered())


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("Location", ONE, TWO),
        ("ETag", "0f3a9c5e7d1b2468", "1f3a9c5e7d1b2468"),
        ("X-Plan", "free", "paid"),
        ("X-Paid-At", "2021-11-14T22:13:20.000001+00:00", "2022-11-14T22:13:20.000001+00:00"),
    ],
)
def test_what_it_says_counts(name: str, one: str, other: str) -> None:
    assert key(answered([name, one])) != key(answered([name, other]))


def test_body_and_status_count() -> None:
    assert key(answered(body={"rate": "1.08"})) != key(answered())
    assert key(answered(status=304)) != key(answered())


def test_other_protocols_have_no_headers() -> None:
    mock = make_mock("SELECT", answer=[["date", "now"]])
    mock.response = {"headers": [["date", "now"]]}
    assert answer_of(mock) == {"/headers/0/0": "date", "/headers/0/1": "now"}
