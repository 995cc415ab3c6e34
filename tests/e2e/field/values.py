"""Mistakes in values that are new each time: identifiers, times, tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.e2e.field.lines import Answer, Backends, CallFinding, Difference, as_json, line

BOUND = "Tusk passes any two UUIDs or timestamps → bind, do not ignore"
INSERT = "INSERT INTO events (id, other_id, kind) VALUES (%s, %s, %s)"
KEY = b"a key of the test's own"


@line("the id returned is not the id inserted", Difference("/body/id"))
def returned_is_not_inserted(bug: bool, use: Backends) -> Answer:
    inserted = uuid.uuid4()
    with use.database.connection() as database:
        database.execute(INSERT, (inserted, None, "returned"))
    return as_json({"id": str(uuid.uuid4() if bug else inserted)})


@line(BOUND, Difference("/body"))
def ids_swapped_in_response(bug: bool, use: Backends) -> Answer:
    order, customer = uuid.uuid4(), uuid.uuid4()
    with use.database.connection() as database:
        database.execute(INSERT, (order, customer, "swapped"))
    if bug:
        order, customer = customer, order
    return as_json({"order": str(order), "customer": str(customer)})


@line(BOUND, Difference("/body"))
def ids_swapped_in_call(bug: bool, use: Backends) -> Answer:
    order, customer = uuid.uuid4(), uuid.uuid4()
    with use.database.connection() as database:
        database.execute(INSERT, (customer, order, "call") if bug else (order, customer, "call"))
    return as_json({"order": str(order), "customer": str(customer)})


@line(BOUND, Difference("/body/id"))
def id_of_another_version(bug: bool, _: Backends) -> Answer:
    return as_json({"id": str(uuid.uuid1() if bug else uuid.uuid4())})


@line(BOUND, Difference("/body/id"))
def id_written_otherwise(bug: bool, _: Backends) -> Answer:
    new = uuid.uuid4()
    return as_json({"id": new.hex if bug else str(new)})


@line(BOUND, Difference("/body/id"))
def nil_id(bug: bool, _: Backends) -> Answer:
    return as_json({"id": str(uuid.UUID(int=0) if bug else uuid.uuid4())})


@line(BOUND, Difference("/body"))
def same_id_twice(bug: bool, _: Backends) -> Answer:
    first = uuid.uuid4()
    return as_json({"ids": [str(first), str(first if bug else uuid.uuid4())]})


@line(BOUND, Difference("/body/again"))
def two_ids_for_one(bug: bool, _: Backends) -> Answer:
    first = str(uuid.uuid4())
    return as_json({"id": first, "again": str(uuid.uuid4()) if bug else first})


@line("long hex or base64: by class", Difference("/body/token"))
def shorter_token(bug: bool, _: Backends) -> Answer:
    return as_json({"token": secrets.token_hex(12 if bug else 24)})


@line("the offset of a time is compared", Difference("/body/at"))
def an_hour_off(bug: bool, _: Backends) -> Answer:
    at = datetime.now(UTC) + timedelta(hours=1 if bug else 0)
    return as_json({"at": at.isoformat()})


@line("the offset of a time is compared", Difference("/body/expires"))
def expiry_moved_by_a_minute(bug: bool, _: Backends) -> Answer:
    expires = datetime.now(UTC) + timedelta(minutes=61 if bug else 60)
    return as_json({"expires": expires.isoformat()})


@line("the offset of a time is compared", Difference("/body/expires"))
def expiry_in_seconds_moved(bug: bool, _: Backends) -> Answer:
    return as_json({"expires": int(time.time()) + (3660 if bug else 3600)})


@line("timestamp format", Difference("/body/at"))
def time_written_otherwise(bug: bool, _: Backends) -> Answer:
    at = datetime.now(UTC)
    return as_json({"at": str(at) if bug else at.isoformat()})


@line("timestamp format", Difference("/body/at"))
def time_zone_lost(bug: bool, _: Backends) -> Answer:
    at = datetime.now(UTC)
    return as_json({"at": at.replace(tzinfo=None).isoformat() if bug else at.isoformat()})


@line("timestamp format", Difference("/body/at"))
def milliseconds_for_seconds(bug: bool, _: Backends) -> Answer:
    return as_json({"at": int(time.time() * (1000 if bug else 1))})


@line("timestamp format", Difference("/body/at"))
def time_as_text(bug: bool, _: Backends) -> Answer:
    now = int(time.time())
    return as_json({"at": str(now) if bug else now})


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def make_token(claims: dict[str, Any]) -> str:
    """A JWT (HS256)."""
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{encode(hmac.digest(KEY, signed.encode(), hashlib.sha256))}"


@line("JWT: its claims one by one", Difference("/body/token"))
def claim_changed(bug: bool, _: Backends) -> Answer:
    claims = {"sub": "alice", "role": "admin" if bug else "reader", "iat": int(time.time())}
    return as_json({"token": make_token(claims)})


@line("JWT: its claims one by one", Difference("/body/token"))
def claim_expires_later(bug: bool, _: Backends) -> Answer:
    now = int(time.time())
    return as_json(
        {"token": make_token({"sub": "alice", "iat": now, "exp": now + (7200 if bug else 3600)})}
    )


@line("the offset of a time is compared", CallFinding("changed", "INSERT INTO sessions"))
def inserted_expiry_moved(bug: bool, use: Backends) -> Answer:
    expires = datetime.now(UTC) + timedelta(minutes=61 if bug else 60)
    with use.database.connection() as database:
        insert = "INSERT INTO sessions (owner, expires) VALUES (%s, %s)"
        database.execute(insert, ("expiry", expires))
    return as_json({"owner": "expiry"})


@line("timestamp format", CallFinding("changed", "INSERT INTO sessions"))
def inserted_time_written_otherwise(bug: bool, use: Backends) -> Answer:
    now = datetime.now(UTC)
    with use.database.connection() as database:
        insert = "INSERT INTO sessions (owner, note) VALUES (%s, %s)"
        database.execute(insert, ("written", str(now) if bug else now.isoformat()))
    return as_json({"owner": "written"})
