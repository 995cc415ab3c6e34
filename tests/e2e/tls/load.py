"""Customers who keep a program busy over connections kept alive, and what they were answered."""

from __future__ import annotations

import http.client
import itertools
import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
SIZES = (20, 400, 3, 5_000, 40, 20_000, 1_000, 120, 70_000, 9)  # of notes; a TLS record has 16,384
WORDS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine")


@dataclass(frozen=True)
class Sent:
    """A request and its answer; times by the monotonic clock."""

    number: int
    note: str
    status: int
    answer: str
    started_ns: int
    ended_ns: int

    @property
    def path(self) -> str:
        return f"/ask/{self.number}"


def make_note(number: int) -> str:
    """A text of words that no other number has."""
    size = SIZES[number % len(SIZES)]
    words = random.Random(number).choices(WORDS, k=size // 4 + 1)
    return f"{number} {' '.join(words)}"[: max(size, len(str(number)))].rstrip()


class Load:
    """Customers in threads; `sent` is what was answered as it should be, `failures` the rest."""

    def __init__(
        self, port: int, *, is_reversed: bool, context: ssl.SSLContext | None, pause: float = 0.0
    ) -> None:
        self.sent: list[Sent] = []
        self.failures: list[str] = []
        self._port = port
        self._is_reversed = is_reversed
        self._context = context
        self._pause = pause
        self._numbers = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        self._is_over = False

    def admit(self, count: int = 1) -> None:
        """More customers from now on."""
        for _ in range(count):
            thread = threading.Thread(target=self._work)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        connection = self._connect()
        try:
            while not self._is_over:
                self._ask(connection, next(self._numbers))
                time.sleep(self._pause)  # a customer who thinks leaves the others some processor
        except (OSError, http.client.HTTPException, AssertionError) as error:
            with self._news:
                self.failures.append(repr(error))
                self._news.notify_all()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(
            "localhost", self._port, timeout=TIMEOUT_SECONDS, context=self._context
        )

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> None:
        note, started_ns = make_note(number), time.monotonic_ns()
        connection.request("POST", f"/ask/{number}", note, {"Content-Type": "text/plain"})
        response = connection.getresponse()
        answer = response.read().decode()
        ended_ns = time.monotonic_ns()
        expected = f"{number} {note[::-1] if self._is_reversed else note}"
        assert response.status == 200, (number, response.status, answer[:300])
        assert answer == expected, (number, answer[:100], expected[:100])
        with self._news:
            self.sent.append(Sent(number, note, response.status, answer, started_ns, ended_ns))
            self._news.notify_all()

    def wait_for(self, number: int, seconds: float = WAIT_SECONDS) -> None:
        """Until so many more requests were answered.  Fails when one was not as it should be."""
        with self._news:
            wanted = len(self.sent) + number
            self._news.wait_for(lambda: len(self.sent) >= wanted or self.failures, seconds)
            assert not self.failures, self.failures
            assert len(self.sent) >= wanted, f"{len(self.sent)} of {wanted} requests in time"

    def end(self) -> None:
        """After the request each customer is at."""
        self._is_over = True
        for thread in self._threads:
            thread.join()


@contextmanager
def loading(
    port: int,
    customers: int,
    *,
    is_reversed: bool = True,
    context: ssl.SSLContext | None = None,
    pause: float = 0.0,
) -> Iterator[Load]:
    """Load while the block lasts."""
    load = Load(port, is_reversed=is_reversed, context=context, pause=pause)
    load.admit(customers)
    try:
        yield load
    finally:
        load.end()
