"""Customers who keep the shop busy for as long as a test looks on."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from examples.shop.drive import Answer, Client, browse, join, look_after, shop

PARTS = (browse, join, shop, look_after)


class Customer(Client):
    """A client who is not alone: a product may have changed since it was last looked at."""

    def _count(self, method: str, path: str, expected: int, answer: Answer, seconds: float) -> None:
        is_changed = (expected, answer.status) == (304, 200)
        super()._count(method, path, 200 if is_changed else expected, answer, seconds)


class Load:
    """Counts the requests sent; ``failures`` says of those not answered as they should be."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.requests = 0
        self._news = threading.Condition()
        self._is_over = False

    def work(self, base_url: str, seed: str) -> None:
        """One customer, round after round."""
        choice = random.Random(seed)
        client = Customer(base_url, is_quiet=True)
        try:
            while not self._is_over:
                for part in PARTS:
                    part(client, choice)
                    self._take(client)
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"no answer: {error!r}")
        finally:
            client.close()

    def _take(self, client: Customer) -> None:
        """Adds what the client did since the last time."""
        with self._news:
            self.requests += len(client.answers)
            if client.unexpected:
                done = [f"{method} {path} {a.status}" for method, path, a in client.answers]
                self.failures.append(f"an unexpected status among {done}")
            client.answers.clear()
            client.unexpected = 0
            self._news.notify_all()

    def wait_for_requests(self, number: int, seconds: float = 60.0) -> None:
        """Until so many more were sent."""
        with self._news:
            wanted = self.requests + number
            self._news.wait_for(lambda: self.requests >= wanted or self.failures, seconds)
            assert self.requests >= wanted, self.failures or "the shop is too slow"

    def end(self) -> None:
        """After the round each customer is in."""
        self._is_over = True


@contextmanager
def loading(base_url: str, customers: int = 2) -> Iterator[Load]:
    """Load while the block lasts."""
    load = Load()
    threads = [
        threading.Thread(target=load.work, args=(base_url, f"customer {number}"))
        for number in range(customers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.end()
        for thread in threads:
            thread.join()
