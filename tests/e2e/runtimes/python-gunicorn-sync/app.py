"""The notes service with Flask, psycopg2 and redis-py, a connection of each in every worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg2
from flask import Flask, Response, request, send_from_directory
from psycopg2.extras import RealDictCursor
from redis import Redis

BUG = os.environ.get("NOTES_BUG", "")
ORDER = "ASC" if BUG == "order" else "DESC"
COLUMNS = "id, author, title, body, created_at"

app = Flask(__name__)
app.json.sort_keys = False
redis = Redis.from_url(os.environ["REDIS_URL"])


@cache
def get_connection() -> Any:
    return psycopg2.connect(os.environ["DATABASE_URL"])


@contextmanager
def transaction() -> Iterator[RealDictCursor]:
    with get_connection() as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        yield cursor


def as_note(row: dict[str, Any]) -> dict[str, Any]:
    title = row["title"].upper() if BUG == "title" else row["title"]
    return {**row, "title": title, "created_at": row["created_at"].isoformat()}


@app.get("/health")
def health() -> Any:
    return {"status": "ok"}


@app.post("/notes")
def create() -> Any:
    asked = request.get_json()
    if not asked.get("title"):
        return {"error": "title is required"}, 422
    with transaction() as cursor:
        cursor.execute(
            f"INSERT INTO notes (author, title, body) VALUES (%s, %s, %s) RETURNING {COLUMNS}",
            (asked["author"], asked["title"], asked["body"]),
        )
        note = as_note(cursor.fetchone())
        if BUG != "history":
            cursor.execute(
                "INSERT INTO history (note_id, action) VALUES (%s, 'created')", (note["id"],)
            )
    redis.set(f"note:{note['id']}", json.dumps(note))
    redis.incr(f"notes:count:{note['author']}")
    return note, 201, {"Location": f"/notes/{note['id']}"}


@app.get("/notes/<int:number>")
def read(number: int) -> Any:
    cached = redis.get(f"note:{number}")
    if cached is not None:
        return json.loads(cached), {"X-Cache": "hit"}
    with transaction() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM notes WHERE id = %s", (number,))
        row = cursor.fetchone()
    if row is None:
        return {"error": "no such note"}, 404
    note = as_note(row)
    redis.set(f"note:{number}", json.dumps(note), ex=60)
    return note, {"X-Cache": "miss"}


@app.get("/notes")
def newest() -> Any:
    with transaction() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM notes WHERE author = %s ORDER BY id {ORDER} LIMIT %s",
            (request.args["author"], request.args.get("limit", 10, int)),
        )
        return [as_note(row) for row in cursor.fetchall()]


@app.delete("/notes/<int:number>")
def delete(number: int) -> Any:
    with transaction() as cursor:
        cursor.execute("DELETE FROM notes WHERE id = %s", (number,))
        deleted = cursor.rowcount
    if not deleted:
        return {"error": "no such note"}, 404
    redis.delete(f"note:{number}")
    return "", 204


@app.post("/echo")
def echo() -> Any:
    return Response(request.get_data(), content_type=request.content_type)


@app.get("/report")
def report() -> Any:
    with transaction() as cursor:
        cursor.execute("SELECT generate_series(1, %s::int) AS n", (request.args["rows"],))
        rows = cursor.fetchall()
    return Response((f"row {row['n']}\n" for row in rows), content_type="text/plain")


@app.get("/files/<name>")
def file(name: str) -> Any:
    return send_from_directory(os.environ["FILES_DIR"], name)
