"""Customers of an application: many at once, each seeded, who know what answer to expect."""

from __future__ import annotations

import http.client
import importlib.util
import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

TIMEOUT_SECONDS = 30.0
SHOWN_BYTES = 400
# Fields, sent or answered, that hold credentials in these applications.
CREDENTIALS = ("password", "csrf", "key", "access_token", "refresh_token")
COOKIES = ("sid", "remember")  # likewise; "visitor" lets nobody in
LEAST_CREDENTIAL = 8  # characters of one that can be looked for: "wrong" is a word of the pages


class UnexpectedAnswerError(Exception):
    """An application did not answer as its driver expects while it was recorded."""


@dataclass(frozen=True)
class Reply:
    """An answer with its body whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One customer with a connection kept alive, cookies and headers sent with every request."""

    def __init__(self, port: int, number: int, seed: int) -> None:
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.credentials: set[str] = set()  # that were sent
        self.sent = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, expect: int = 200, **headers: str) -> Reply:
        return self.send("GET", path, expect=expect, headers=headers)

    def post(self, path: str, body: Any = None, expect: int = 200, **headers: str) -> Reply:
        """``body`` goes as JSON."""
        self._note(body)
        return self.send("POST", path, _as_json(body), expect, {**_JSON, **headers})

    def put(self, path: str, body: Any = None, expect: int = 200, **headers: str) -> Reply:
        """``body`` goes as JSON."""
        self._note(body)
        return self.send("PUT", path, _as_json(body), expect, {**_JSON, **headers})

    def submit(self, path: str, fields: Mapping[str, Any], expect: int = 303) -> Reply:
        """Fields go as a browser's form."""
        self._note(fields)
        return self.send("POST", path, urlencode(fields).encode(), expect, _FORM)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        expect: int = 200,
        headers: Mapping[str, str] = {},
    ) -> Reply:
        """Raises `UnexpectedAnswerError` when the status is not the expected one."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        fields = {**self.headers, **fields}
        known = (self.cookies.get(name, "") for name in COOKIES)
        for token in (*known, fields.get("Authorization", "").partition(" ")[2]):
            self._note_credential(token.rpartition(".")[2])  # of a signed one the signature
        self._connection.request(method, path, body, fields)
        response = self._connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        self.sent += 1
        for cookie in reply.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        if reply.status != expect:
            shown = reply.body[:SHOWN_BYTES]
            raise UnexpectedAnswerError(f"{method} {path}: {reply.status}, not {expect}: {shown!r}")
        return reply

    def _note(self, fields: Mapping[str, Any] | None) -> None:
        for name in CREDENTIALS:
            self._note_credential(str((fields or {}).get(name, "")))

    def _note_credential(self, value: str) -> None:
        if len(value) >= LEAST_CREDENTIAL:
            self.credentials.add(value)


_JSON = {"Content-Type": "application/json"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Customer = Callable[[Client], None]


def _as_json(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def load_driver(path: Path) -> Customer:
    """The function ``customer`` of a driver: one customer's visit."""
    spec = importlib.util.spec_from_file_location(f"driver_of_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    customer: Customer = module.customer
    return customer


def drive(
    port: int,
    customer: Customer,
    *,
    clients: int = 8,
    seed: int = 1,
    first: int = 0,
    credentials: set[str] | None = None,
) -> int:
    """All customers at once; gives the number of requests.  Raises what any of them raised.

    Their numbers begin at ``first``, so that later customers are others.  ``credentials`` is
    added what they sent to be let in.
    """
    with ThreadPoolExecutor(clients) as pool:
        visits = [
            pool.submit(_visit, port, customer, number, seed)
            for number in range(first, first + clients)
        ]
        done = [visit.result() for visit in visits]
    if credentials is not None:
        credentials.update(*(client.credentials for client in done))
    return sum(client.sent for client in done)


def _visit(port: int, customer: Customer, number: int, seed: int) -> Client:
    client = Client(port, number, seed)
    try:
        customer(client)
    finally:
        client.close()
    return client
