"""The shop: what recording it takes, how fast it is meanwhile, how fast its recording replays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, below
from benchmarks.loads import load_http
from benchmarks.observers import MITMPROXY, STRACE, TCPDUMP
from benchmarks.subject import Subject, measure_subject
from benchmarks.usage import list_family, watch_end
from benchmarks.usage import read_proportional_memory as read_memory
from examples.processes import Process, ProcessError
from examples.recorder import find_kebpf, start_recorder, with_sources
from examples.services import EXAMPLES, Services
from examples.shop.drive import drive

MEMORY_LIMIT = 60.0  # MB
START_LIMIT = 1.0  # seconds
STARTS = 5
SECONDS = 4.0
CUSTOMERS = 4
PATH = "/products?limit=5"
LEAST = 0.97
DRIVE_ROUNDS = 10
TEST_SECONDS = 300.0


def measure_shop(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """All figures of the shop."""
    with Services() as services:
        shop = services.start_shop()
        drive(services.shop_url, is_quiet=True)
        yield from measure_starts(shop, folder)
        subject = Subject(
            name="shop, 4 customers",
            target=shop.pid,
            port=services.shop_port,
            load=lambda port, share: load_http(
                f"http://127.0.0.1:{port}{PATH}", SECONDS * share, CUSTOMERS
            ),
            least=LEAST,
            tools=(MITMPROXY, TCPDUMP, STRACE),
        )
        yield from measure_subject(subject, doors, rounds, folder / "shop-speed")
        shop.stop()
        shop = services.start_shop()  # statements prepared under load have no text to be seen
        drive(services.shop_url, is_quiet=True)
        path = folder / "shop"
        started = time.monotonic()
        yield from measure_memory(services, shop, path)
        seconds = time.monotonic() - started
        shop.stop()
        services.stop_backends()
        yield from measure_replay(services, path, folder / "events.jsonl", seconds)


def measure_starts(shop: Process, folder: Path) -> Iterator[Figure]:
    """From starting the command to its line that it records."""
    taken = []
    for number in range(STARTS):
        begun = time.monotonic()
        recorder = start_recorder(folder / f"start-{number}", "--pid", str(shop.pid))
        taken.append(time.monotonic() - begun)
        recorder.stop(signal.SIGKILL)
    yield below(f"start of recording, median of {STARTS}", median(taken), START_LIMIT, "s")


def measure_memory(services: Services, shop: Process, path: Path) -> Iterator[Figure]:
    """The recorder's resident memory while the shop is driven, and at most until it has ended."""
    recorder = start_recorder(path, "--pid", str(shop.pid))
    try:
        driven = drive(services.shop_url, rounds=DRIVE_ROUNDS, concurrency=2, is_quiet=True)
        now = read_memory(list_family(recorder.pid))
        most = watch_end(recorder)
    finally:
        status = recorder.stop(signal.SIGINT)
    if status != 0:
        raise ProcessError(f"kebpf record ended with {status}:\n{recorder.tail()}")
    requests = driven["requests"]
    cases = json.loads(recorder.lines[-1])["test_cases"]
    yield Figure("requests that became cases", f"{cases} of {requests}", "all", cases == requests)
    yield below(f"memory after {requests:,} shop requests", now, MEMORY_LIMIT, "MB")
    yield below("memory at most, to the end", most, MEMORY_LIMIT, "MB")


def measure_replay(
    services: Services, path: Path, report: Path, recorded_seconds: float
) -> Iterator[Figure]:
    """The recording replayed with everything off; times without the application's start."""
    command = [*find_kebpf(), "test", "-c", services.shop_command, str(path), "--json", str(report)]
    done = subprocess.run(
        command,
        env=with_sources({**os.environ, **services.shop_environment}),
        cwd=EXAMPLES,
        capture_output=True,
        timeout=TEST_SECONDS,
        check=False,
    )
    events = [json.loads(line) for line in report.read_text().splitlines()]
    by_name = {event["event"]: event for event in events}
    finished, ready = by_name["run_finished"], by_name["application_ready"]
    seconds = finished["seconds"] - ready["seconds"]
    cases = sum(event["event"] == "case_finished" for event in events)
    calls = finished["ledger"]["used"]
    yield Figure("replay, cases", f"{cases / seconds:.0f} per second")
    yield Figure("replay, calls answered", f"{calls / seconds:.0f} per second")
    yield Figure("replay, time to that of recording", f"{seconds / recorded_seconds:.2f}")
    passed = f"{finished['passed']} of {cases}"
    yield Figure("replay, cases passed", passed, "all", done.returncode == 0)
