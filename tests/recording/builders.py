"""Exchanges, cases and mocks for the tests of recording, with every part that matters a keyword."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.recording.model import (
    Endpoint,
    Evidence,
    Manifest,
    Mock,
    RecordedExchange,
    Role,
    TestCase,
    Tier,
    Timing,
    Tls,
)

APP = Endpoint("tcp", "127.0.0.1", 8000)
PEER = Endpoint("tcp", "127.0.0.1", 51000)
DATABASE = Endpoint("tcp", "127.0.0.1", 5432)


def make_request(target: str = "/", body: bytes = b"", method: str = "GET") -> Document:
    return {"method": method, "target": target, "headers": [["Host", "app"]], "body": body}


def make_response(body: bytes = b"{}", status: int = 200) -> Document:
    return {"status": status, "headers": [["Content-Type", "application/json"]], "body": body}


def make_exchange(
    start: int,
    end: int,
    *,
    request: Document | None = None,
    response: Document | None = None,
    protocol: str = "http",
    tid: int = 1,
    end_tid: int | None = None,
    pid: int = 100,
    role: Role = Role.SERVER,
    connection: int = 1,
    remote: Endpoint | None = None,
    is_session: bool = False,
    transaction: int | None = None,
    problem: str | None = None,
    calls: int = 1,
    tls: Tls | None = None,
) -> RecordedExchange:
    is_server = role is Role.SERVER
    exchange = Exchange(
        protocol=protocol,
        request=make_request() if request is None else request,
        response=make_response() if response is None and problem is None else response,
        request_start=Mark(start, tid),
        request_end=Mark(start, tid),
        response_start=Mark(end, tid if end_tid is None else end_tid),
        response_end=Mark(end, tid if end_tid is None else end_tid),
        is_session=is_session,
        transaction=transaction,
        problem=problem,
        calls=calls,
    )
    return RecordedExchange(
        exchange,
        role,
        connection,
        APP if is_server else PEER,
        remote or (PEER if is_server else DATABASE),
        pid,
        tls,
    )


def make_case(name: str = "get-root-abc123", **changes: Any) -> TestCase:
    values: dict[str, Any] = {
        "name": name,
        "protocol": "http",
        "request": make_request(),
        "response": make_response(),
        "endpoint": APP,
        "timing": Timing(1, 2),
        "order": 1,
    }
    return TestCase(**(values | changes))


def make_mock(name: str = "mock-000001", **changes: Any) -> Mock:
    values: dict[str, Any] = {
        "name": name,
        "protocol": "postgres",
        "destination": DATABASE,
        "request": {"sql": "SELECT 1", "parameters": [b"\x00\x01", 3, None]},
        "response": {"rows": [[1.5, True, "x"]]},
        "timing": Timing(3, 4),
        "tier": Tier.CASE,
        "connection": 2,
        "case": "get-root-abc123",
        "evidence": Evidence.THREAD,
    }
    return Mock(**(values | changes))


def make_manifest(name: str = "set") -> Manifest:
    return Manifest(name, 1, "0.1.0", "6.1", ["python", "app.py"], "/usr/bin/python3", [8000])
