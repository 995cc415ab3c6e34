"""Drives the shop as its customers would: one line a request, a JSON summary at the end."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

PASSWORD = "correct horse"
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back; ``headers`` as ordered pairs, ``body`` as sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """The first header of that name, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass
class Client:
    """Sends requests one after the other, most of them on one connection, and counts."""

    base_url: str
    is_quiet: bool = False
    token: str = ""
    requests: int = 0
    unexpected: int = 0
    answers: list[tuple[str, str, Answer]] = field(default_factory=list)
    _connection: http.client.HTTPConnection | None = None

    def send(
        self,
        method: str,
        path: str,
        expected: int = 200,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        is_new: bool = False,
        is_chunked: bool = False,
    ) -> Answer:
        """Sends a request and reads all of its answer; ``is_new`` on a connection of its own."""
        sent = dict(headers or {})
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        payload: bytes | Iterator[bytes] | None = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
            if is_chunked:
                payload = iter([payload[:7], payload[7:]])
        if is_new:
            sent["Connection"] = "close"
        begun = time.perf_counter()
        answer = self._exchange(method, path, payload, sent, is_new)
        self._count(method, path, expected, answer, time.perf_counter() - begun)
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        payload: bytes | Iterator[bytes] | None,
        headers: dict[str, str],
        is_new: bool,
    ) -> Answer:
        connection = self._open() if is_new else self._keep_open()
        try:
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            if is_new:
                connection.close()

    def _open(self) -> http.client.HTTPConnection:
        address = urlsplit(self.base_url)
        return http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port, timeout=TIMEOUT_SECONDS
        )

    def _keep_open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def close(self) -> None:
        """Closes the kept connection."""
        if self._connection is not None:
            self._connection.close()

    def _count(self, method: str, path: str, expected: int, answer: Answer, seconds: float) -> None:
        self.requests += 1
        note = ""
        if answer.status != expected:
            self.unexpected += 1
            note = f"  EXPECTED {expected}"
        self.answers.append((method, path, answer))
        if not self.is_quiet:
            size = len(answer.body)
            print(f"{answer.status} {method:6} {path} {size} B {seconds * 1000:.1f} ms{note}")


def browse(client: Client, choice: random.Random) -> None:
    """Looks around without an account."""
    product = choice.randint(1, 38)
    client.send("GET", "/health", is_new=True)
    client.send("GET", "/")
    client.send("GET", f"/products?limit={choice.randint(3, 6)}&offset={choice.randint(0, 20)}")
    client.send("GET", "/products?category=kitchen", headers={"Accept-Encoding": "gzip"})
    client.send("GET", f"/products/search?q={quote(choice.choice(['Lamp', 'Kyōto', 'Café']))}")
    client.send("GET", "/products/search?q=x", 422)
    etag = client.send("GET", f"/products/{product}").header("ETag")
    client.send("GET", f"/products/{product}", 304, headers={"If-None-Match": etag})
    client.send("HEAD", f"/products/{product}", is_new=True)
    client.send("GET", f"/products/{product}?currency={choice.choice(['USD', 'GBP', 'CHF'])}")
    client.send("GET", f"/products/{product}?currency=XXX", 422)
    client.send("GET", "/products/4711", 404)
    client.send("GET", f"/products/{product}/label")
    client.send("GET", f"/products/{product}/image", is_new=True)
    client.send("GET", "/products.csv")
    client.send("GET", "/me", 401)
    client.send("PUT", "/preferences", 204, body={"theme": "dark", "language": "pt"})


def join(client: Client, choice: random.Random) -> None:
    """Becomes a customer and logs in."""
    email = f"{choice.choice(['ana', 'bo', 'çelik'])}.{secrets.token_hex(5)}@example.org"
    customer = {"name": "Ana Ünal", "email": email, "password": PASSWORD, "language": "pt"}
    created = client.send("POST", "/customers", 201, body=customer, is_chunked=True).json()
    client.send("POST", "/customers", 409, body=customer)
    client.send("POST", "/customers", 422, body={**customer, "password": "short"})
    client.send("POST", "/login", 401, body={"email": email, "password": "wrong one"})
    login = {"email": email, "password": PASSWORD}
    client.token = client.send("POST", "/login", body=login).json()["token"]
    client.send("GET", "/me")
    client.send("GET", f"/customers/{created['id']}")


def shop(client: Client, choice: random.Random) -> None:
    """Fills the cart, orders, pays one order and cancels another."""
    first, second = choice.sample(range(1, 39), 2)
    client.send("PUT", f"/cart/items/{first}", body={"quantity": choice.randint(1, 3)})
    client.send("PUT", f"/cart/items/{second}", body={"quantity": 1})
    client.send("GET", "/cart")
    client.send("DELETE", f"/cart/items/{second}", 204)
    client.send("DELETE", f"/cart/items/{second}", 404)
    items = [{"product_id": first, "quantity": 2}, {"product_id": second, "quantity": 1}]
    order = client.send("POST", "/orders", 201, body={"items": items, "currency": "USD"}).json()
    client.send("POST", f"/orders/{order['id']}/payment", 402, body={"card": "tok_declined"})
    client.send("POST", f"/orders/{order['id']}/payment", 201, body={"card": "tok_visa"})
    client.send("POST", f"/orders/{order['id']}/payment", 409, body={"card": "tok_visa"})
    client.send("GET", f"/orders/{order['id']}", is_new=True)
    other = client.send("POST", "/orders", 201, body={"items": items[:1]}).json()
    client.send("GET", "/orders?sort=total&status=pending")
    client.send("POST", f"/orders/{other['id']}/cancel")
    client.send("POST", f"/orders/{other['id']}/cancel", 409)
    sold_out = [{"product_id": 40, "quantity": 1}]
    client.send("POST", "/orders", 409, body={"items": sold_out})
    client.send("GET", "/orders")
    client.send("GET", "/export/orders.ndjson")


def look_after(client: Client, choice: random.Random) -> None:
    """What the people of the shop do: stock, report; then leaves."""
    product = choice.randint(1, 38)
    client.send("GET", f"/products/{product}")
    stock = 1_000_000 + choice.randint(0, 99)
    client.send("PUT", f"/products/{product}/stock", 204, body={"stock": stock})
    client.send("GET", f"/products/{product}")
    client.send("PUT", f"/products/{product}/stock", 422, body={"stock": -1})
    client.send("GET", "/reports/sales", headers={"Accept-Encoding": "gzip"})
    client.send("POST", "/logout", 204)
    client.send("GET", "/me", 401)
    client.token = ""


def drive_round(client: Client, choice: random.Random) -> None:
    """All requests once."""
    for part in (browse, join, shop, look_after):
        part(client, choice)


def drive(
    base_url: str, *, rounds: int = 1, concurrency: int = 1, seed: int = 1, is_quiet: bool = False
) -> dict[str, int]:
    """Drives with ``concurrency`` customers at a time; gives the sums of their counts.

    Raises ``OSError`` or ``http.client.HTTPException`` when the shop does not answer at all.
    """
    lock = threading.Lock()
    total = {"requests": 0, "unexpected": 0}

    def work(worker: int) -> None:
        client = Client(base_url, is_quiet)
        try:
            for number in range(rounds):
                drive_round(client, random.Random(f"{seed}/{worker}/{number}"))
        finally:
            client.close()
            with lock:
                total["requests"] += client.requests
                total["unexpected"] += client.unexpected

    with ThreadPoolExecutor(concurrency) as pool:
        for done in [pool.submit(work, worker) for worker in range(concurrency)]:
            done.result()
    return total


def main() -> int:
    """The command line; 1 when a status was not the expected one, 2 when no answer came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="only the summary")
    given = parser.parse_args()
    try:
        total = drive(
            given.base_url,
            rounds=given.rounds,
            concurrency=given.concurrency,
            seed=given.seed,
            is_quiet=given.quiet,
        )
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from {given.base_url}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(total))
    return 1 if total["unexpected"] else 0


if __name__ == "__main__":
    sys.exit(main())
