"""Customers who keep a program busy while a test looks on, and the log of what they did."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.e2e.runtimes.routes import Customer, Sent, UnexpectedAnswerError

WAIT_SECONDS = 60.0


class Load:
    """Customers in threads; `sent` is what was answered as it should be, `failures` the rest."""

    def __init__(self, port: int) -> None:
        self.sent: list[Sent] = []
        self.failures: list[str] = []
        self._port = port
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        self._is_over = False
        self._is_paused = False
        self._waiting = 0

    def admit(self, author: str) -> None:
        """Another customer from now on."""
        thread = threading.Thread(target=self._work, args=(author,))
        self._threads.append(thread)
        thread.start()

    def _work(self, author: str) -> None:
        customer = Customer(self._port, author, self._note)
        try:
            while not self._is_over:
                customer.run_round()
                self._rest()
        except (OSError, http.client.HTTPException, UnexpectedAnswerError, ValueError) as error:
            with self._news:
                self.failures.append(f"{author}: {error!r}")
                self._news.notify_all()
        finally:
            customer.close()

    def _rest(self) -> None:
        """Waits out a lull, between two rounds."""
        with self._news:
            self._waiting += 1
            self._news.notify_all()
            self._news.wait_for(lambda: not self._is_paused or self._is_over)
            self._waiting -= 1

    @contextmanager
    def lull(self) -> Iterator[None]:
        """Nobody has a request under way while the block lasts."""
        with self._news:
            self._is_paused = True
            is_quiet = self._news.wait_for(
                lambda: self._waiting == len(self._threads) or self.failures, WAIT_SECONDS
            )
            assert is_quiet and not self.failures, self.failures
        try:
            yield
        finally:
            with self._news:
                self._is_paused = False
                self._news.notify_all()

    def _note(self, sent: Sent) -> None:
        with self._news:
            self.sent.append(sent)
            self._news.notify_all()

    def wait_for(self, number: int) -> None:
        """Until so many more requests were answered.  Fails when one was not as it should be."""
        with self._news:
            wanted = len(self.sent) + number
            self._news.wait_for(lambda: len(self.sent) >= wanted or self.failures, WAIT_SECONDS)
            assert not self.failures, self.failures
            assert len(self.sent) >= wanted, f"{len(self.sent)} of {wanted} requests in time"

    def end(self) -> None:
        """After the round each customer is in."""
        with self._news:
            self._is_over = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()


@contextmanager
def loading(port: int, *authors: str) -> Iterator[Load]:
    """Load while the block lasts."""
    load = Load(port)
    for author in authors:
        load.admit(author)
    try:
        yield load
    finally:
        load.end()


def wait_until_healthy(
    port: int, seconds: float, is_alive: Callable[[], bool] = lambda: True
) -> None:
    """Until the program serves.  Raises `TimeoutError` when it does not in time, or is no more."""
    deadline = time.monotonic() + seconds
    while not _is_healthy(port):
        if time.monotonic() > deadline or not is_alive():
            raise TimeoutError(f"nothing healthy on port {port}")
        time.sleep(0.05)  # nothing to wait on: the program may not listen yet


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
