"""Recordings of the shop, made once, after which everything it depends on is switched off."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.recorder import start_recorder, stop_recorder
from examples.services import Services
from examples.shop.drive import drive
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, read_set, recording
from tests.e2e.shop_trace import watching


@dataclass(frozen=True)
class ShopRecording:
    """A test set of the shop beside what others say happened meanwhile.

    ``requests`` is what the driver sent, ``counts`` what the servers' own statistics say they
    were asked, ``calls`` the same call by call from their logs.
    """

    path: Path
    summary: Entry
    entries: list[Entry]
    requests: int
    counts: dict[str, int]
    calls: list[str]

    @property
    def cases(self) -> list[Entry]:
        return [entry for entry in self.entries if entry["kind"] == "test"]

    def mocks(self, protocol: str) -> list[Entry]:
        """All mocks of a protocol, those of sessions too."""
        return [
            entry
            for entry in self.entries
            if entry["kind"] == "mock" and entry["protocol"] == protocol
        ]


@dataclass(frozen=True)
class ShopRecordings:
    """``attached`` to the running shop, ``fresh`` from its start, ``alone`` with one customer."""

    services: Services
    attached: ShopRecording
    fresh: ShopRecording
    alone: ShopRecording


def skip_unless_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("recording needs root")


@pytest.fixture(scope="session")
def shop_recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopRecordings]:
    """All three; PostgreSQL, Redis and the rates service are stopped by the time they are given."""
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("recordings")
    with Services(log_statements=True) as services:
        attached = record_running(services, folder / "attached", rounds=2, concurrency=2)
        alone = record_running(services, folder / "alone", rounds=1, concurrency=1)
        fresh = record_from_start(services, folder / "fresh", rounds=1, concurrency=2)
        services.stop_backends()
        yield ShopRecordings(services, attached, fresh, alone)


def record_running(
    services: Services, path: Path, *, rounds: int, concurrency: int
) -> ShopRecording:
    """Joins the shop when its pools are open and customers were served."""
    services.reset()
    shop = services.start_shop()
    drive(services.shop_url, is_quiet=True)

    def record() -> tuple[Entry, int]:
        with recording(path, "--pid", str(shop.pid)) as summary:
            requests = drive_shop(services, rounds, concurrency)
        return summary, requests

    try:
        return observe(services, path, record)
    finally:
        shop.stop()


def record_from_start(
    services: Services, path: Path, *, rounds: int, concurrency: int
) -> ShopRecording:
    """Lets kebpf start the shop; the driver comes when it listens."""
    services.reset()
    command = shlex.split(services.shop_command)

    def record() -> tuple[Entry, int]:
        recorder = start_recorder(path, command=command, environment=services.shop_environment)
        try:
            recorder.wait_for(lambda line: "Uvicorn running" in line)
            requests = drive_shop(services, rounds, concurrency)
        finally:
            summary = stop_recorder(recorder)
        return summary, requests

    return observe(services, path, record)


def drive_shop(services: Services, rounds: int, concurrency: int) -> int:
    """The number of requests sent, all of which were answered as they should be."""
    driven = drive(services.shop_url, rounds=rounds, concurrency=concurrency, seed=2, is_quiet=True)
    assert driven["unexpected"] == 0
    return driven["requests"]


def observe(
    services: Services, path: Path, record: Callable[[], tuple[Entry, int]]
) -> ShopRecording:
    """Has a recording made and asks the servers about the same time."""
    before = services.count_calls()
    with watching(services) as watch:
        summary, requests = record()
        calls = watch.take_calls()
    counts = {name: count - before[name] for name, count in services.count_calls().items()}
    return ShopRecording(path, summary, read_set(path), requests, counts, calls)
