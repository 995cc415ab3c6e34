"""Settings of connections: compared where all recorded ones agree."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Mock, Tier
from kebpf.replay.encrypted import Encryptions
from kebpf.replay.opened import OpenedNow, Openings
from tests.recording.builders import DATABASE, make_mock

CACHE = Endpoint("tcp", "127.0.0.1", 6379)
ELSEWHERE = Endpoint("tcp", "127.0.0.1", 5433)


def startup(user: str = "shop", database: str = "shop", **options: str) -> Document:
    return {"kind": "startup", "user": user, "database": database, "options": options}


def opened(request: Document, error: object = None, **options: Any) -> Mock:
    values: dict[str, Any] = {"protocol": "postgres", "destination": DATABASE} | options
    response = {"error": error, "parameters": {}}
    return make_mock(request=request, response=response, tier=Tier.SESSION, case=None, **values)


def judge(recorded: list[Mock], *now: Document, at: Endpoint = DATABASE) -> list[Any]:
    openings = Openings()
    for mock in recorded:
        openings.learn(mock)
    run = OpenedNow(openings, Encryptions())
    for request in now:
        run.note(at, "postgres" if "kind" in request else "redis", request)
    return [
        (found.count, [(one.path, one.kind, one.expected, one.actual) for one in found.fields])
        for found in run.list_findings()
    ]


def test_equal_ones_are_none() -> None:
    recorded = [opened(startup(TimeZone="UTC", application_name=f"app-{n}")) for n in (7, 18)]
    assert judge(recorded, startup(TimeZone="UTC", application_name="app-9")) == []


@pytest.mark.parametrize(
    ("now", "field"),
    [
        ({"TimeZone": "CET"}, ("/TimeZone", "changed", "UTC", "CET")),
        ({}, ("/TimeZone", "missing", "UTC", None)),
        ({"TimeZone": "UTC", "search_path": "x"}, ("/search_path", "extra", None, "x")),
        ({"TimeZone": "UTC", "user": "root"}, ("/user", "changed", "shop", "root")),
    ],
)
def test_a_difference_is_one_finding_however_many_connections_have_it(
    now: dict[str, str], field: object
) -> None:
    recorded = [opened(startup(TimeZone="UTC"))]
    assert judge(recorded, *[startup(**now)] * 3) == [(3, [field])]


def test_what_recorded_ones_differ_in_is_not_compared() -> None:
    recorded = [opened(startup(TimeZone=zone)) for zone in ("UTC", "CET")]
    assert judge([*recorded, opened(startup())], startup(TimeZone="EST")) == []


def test_each_database_and_user_has_its_own() -> None:
    recorded = [opened(startup(TimeZone="UTC")), opened(startup(database="log", TimeZone="CET"))]
    assert judge(recorded, startup(database="log", TimeZone="CET")) == []
    assert len(judge(recorded, startup(database="log", TimeZone="UTC"))) == 1


def test_what_was_not_recorded_says_nothing() -> None:
    recorded = [opened(startup(TimeZone="UTC")), opened(startup(database="b"), {"code": "3D000"})]
    assert judge(recorded, startup(database="new")) == []
    assert judge(recorded, startup(database="b", TimeZone="CET")) == []
    assert judge(recorded, startup(TimeZone="CET"), at=ELSEWHERE) == []


def hello(*words: str) -> Document:
    return {"command": ["HELLO", *words]}


@pytest.mark.parametrize(
    ("now", "count"),
    [
        (hello("3", "SETNAME", "worker-2"), 0),
        (hello("2", "SETNAME", "worker-1"), 1),
        (hello("3", "SETNAME", "other"), 1),
        (hello("3"), 1),
        ({"command": ["CLIENT", "SETNAME", "y"]}, 1),
        ({"command": ["CLIENT", "SETINFO", "LIB-VER", "9"]}, 0),
    ],
)
def test_redis(now: Document, count: int) -> None:
    requests = [hello("3", "SETNAME", "worker-1"), {"command": ["client", "setname", "x"]}]
    requests.append({"command": ["CLIENT", "SETINFO", "LIB-VER", "1"]})
    recorded = [opened(one, protocol="redis", destination=CACHE) for one in requests]
    assert len(judge(recorded, now, at=CACHE)) == count
