"""What the notes service must answer: each customer sends requests and looks at every answer."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.runtimes.servers import AUTHORS, CROWD, LOGO, SEEDED

TIMEOUT_SECONDS = 30.0
ID_HEADER = "X-Request-Id"
WORDS = ["früh", "späte", "Wolken", "ziehen", '"heute"', "über", "\\", "das", "日本", "Meer", "&"]
WORDS += ["<weiter>", "o'clock"]
BINARY = random.Random("binary").randbytes(100_000)


class UnexpectedAnswerError(Exception):
    """The program did not answer as the interface says."""


@dataclass(frozen=True)
class Sent:
    """A request that was answered as it should be; times of the monotonic clock."""

    number: str
    route: str
    started_ns: int
    ended_ns: int


@dataclass(frozen=True)
class Answer:
    """Status, headers and the body whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Customer:
    """Someone with an own keep-alive connection, name and sequence of random choices."""

    def __init__(self, port: int, author: str, note: Callable[[Sent], None]) -> None:
        self.author = author
        self._note = note
        self._choice = random.Random(author)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._count = 0
        self._rounds = 0

    def close(self) -> None:
        self._connection.close()

    def send(
        self, route: str, method: str, path: str, status: int, body: bytes = b"", kind: str = ""
    ) -> Answer:
        """One request.  Raises `UnexpectedAnswerError` unless the status is as given."""
        self._count += 1
        number = f"{self.author}-{self._count}"
        headers = {ID_HEADER: number} | ({"Content-Type": kind} if kind else {})
        started_ns = time.monotonic_ns()
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        ended_ns = time.monotonic_ns()
        expect(answer.status == status, f"{method} {path}", answer)
        self._note(Sent(number, route, started_ns, ended_ns))
        return answer

    def post_json(self, route: str, path: str, status: int, document: object) -> Answer:
        raw = json.dumps(document, ensure_ascii=False).encode()
        return self.send(route, "POST", path, status, raw, "application/json")

    def run_round(self) -> None:
        """Every route once, some of them by turns."""
        self._rounds += 1
        answer = self.send("health", "GET", "/health", 200)
        expect(answer.json() == {"status": "ok"}, "health", answer)
        self._write_and_read()
        self._refuse()
        self._read_old()
        self._echo()
        self._report()
        if self._rounds % 2:
            answer = self.send("file", "GET", "/files/logo", 200)
            expect(answer.body == LOGO, "the logo", answer)

    def _some_words(self, count: int) -> str:
        return " ".join(self._choice.choices(WORDS, k=count))

    def _write_and_read(self) -> None:
        title = f"{self._some_words(3)} no. {self._rounds}"
        wanted = {"author": self.author, "title": title, "body": self._some_words(40)}
        made = self.post_json("create", "/notes", 201, wanted)
        note = made.json()
        keys = ["id", "author", "title", "body", "created_at"]
        expect(list(note) == keys and wanted.items() <= note.items(), "the note made", made)
        path = f"/notes/{note['id']}"
        location = made.headers["Location"] or ""
        expect(urlsplit(location).path == path, "Location", made)
        self._read(path, note, "hit")
        self._list(note)
        self.send("delete", "DELETE", path, 204)
        answer = self.send("read none", "GET", path, 404)
        expect(answer.json() == {"error": "no such note"}, "no note", answer)
        if self._rounds % 3 == 0:
            self.send("delete none", "DELETE", path, 404)

    def _read(self, path: str, note: dict[str, Any], cache: str) -> None:
        answer = self.send(f"read {cache}", "GET", path, 200)
        is_same = all(answer.json()[key] == value for key, value in note.items())
        expect(is_same and answer.headers["X-Cache"] == cache, f"a {cache}", answer)

    def _list(self, newest: dict[str, Any]) -> None:
        answer = self.send("list", "GET", f"/notes?author={self.author}&limit=3", 200)
        notes = answer.json()
        ids = [note["id"] for note in notes]
        is_ordered = len(ids) == 3 and ids == sorted(ids, reverse=True)
        expect(is_ordered and notes[0]["id"] == newest["id"], "the newest", answer)

    def _refuse(self) -> None:
        answer = self.post_json("refuse", "/notes", 422, {"author": self.author, "body": "b"})
        expect(answer.json() == {"error": "title is required"}, "the refusal", answer)

    def _read_old(self) -> None:
        place = self._rounds
        expect(place <= SEEDED, "more rounds than notes", None)
        number = (*AUTHORS, *CROWD).index(self.author) * SEEDED + place
        note = {"id": number, "author": self.author, "title": f"old note {place} of {self.author}"}
        self._read(f"/notes/{number}", note, "miss")
        self._read(f"/notes/{number}", note, "hit")

    def _echo(self) -> None:
        if self._rounds % 3 == 1:
            body, kind = BINARY, "application/octet-stream"
        else:
            body, kind = self._some_words(20).encode(), "text/plain; charset=utf-8"
        answer = self.send("echo", "POST", "/echo", 200, body, kind)
        is_same = answer.body == body and answer.headers["Content-Type"] == kind
        expect(is_same, f"the echo of {len(body)} bytes", answer)

    def _report(self) -> None:
        rows = (1, 40, 2000)[self._rounds % 3]
        answer = self.send("report", "GET", f"/report?rows={rows}", 200)
        lines = answer.body.decode().splitlines()
        expect(len(lines) == rows and lines[-1].endswith(str(rows)), "the report", answer)


def expect(holds: bool, what: str, answer: Answer | None) -> None:
    """Raises `UnexpectedAnswerError`, with what came instead, unless it holds."""
    if not holds:
        shown = f"{answer.status} {dict(answer.headers)} {answer.body[:500]!r}" if answer else ""
        raise UnexpectedAnswerError(f"{what}: {shown}")
