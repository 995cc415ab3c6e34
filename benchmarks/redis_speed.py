"""A saturated redis-server under redis-benchmark: the worst case, and what is lost at its rate."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.loads import Load, load_redis
from benchmarks.observers import STRACE, TCPDUMP
from benchmarks.subject import Subject, measure_subject
from examples.processes import Process, ProcessError, find_free_port, find_program
from examples.recorder import start_recorder

REQUESTS = 300_000
LEAST = 0.93
MOST_P99 = 1.15
END_SECONDS = 300.0
FORMS = {"-c 20": (), "-c 20 -P 16": ("-P", "16")}


@contextmanager
def running_redis(folder: Path) -> Iterator[tuple[Process, int]]:
    """A private server that keeps nothing, and its port."""
    port = find_free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = Process("redis", [find_program("redis-server"), *options])
    try:
        server.wait_for(lambda line: "eady to accept connections" in line)
        yield server, port
    finally:
        server.stop()


def measure_redis(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Speed with and without recording, then completeness."""
    with running_redis(folder) as (server, port):
        subject = Subject(
            name="redis -t get -c 20",
            target=server.pid,
            port=port,
            load=lambda port, share: load_redis(port, int(REQUESTS * share)),
            least=LEAST,
            most_p99=MOST_P99,
            tools=(TCPDUMP, STRACE),
        )
        yield from measure_subject(subject, doors, rounds, folder / "redis")
        for door in doors:
            for form, options in FORMS.items():
                path = folder / f"whole-{door}{len(options)}"
                yield from measure_losses(server.pid, port, door, form, options, path)


def measure_losses(
    target: int, port: int, door: str, form: str, options: tuple[str, ...], path: Path
) -> Iterator[Figure]:
    """One load of the usual size, recorded to the end."""
    recorder = start_recorder(path, "--pid", str(target), "--door", door)
    try:
        load = load_redis(port, REQUESTS, *options)
    finally:
        status = recorder.stop(signal.SIGINT, END_SECONDS)
    if status != 0:
        raise ProcessError(f"kebpf record ended with {status}:\n{recorder.tail()}")
    yield from show_losses(f"redis {form}, door {door}", load, recorder)


def show_losses(name: str, load: Load, recorder: Process) -> Iterator[Figure]:
    """What the recorder's summary says beside what was sent."""
    summary = json.loads(recorder.lines[-1])
    lost, events = summary["lost_events"], summary["events"]
    speed = events * load.speed / load.requests
    yield Figure(f"{name}: events/s", f"{speed:,.0f}")
    yield Figure(f"{name}: lost", f"{lost:,} of {events + lost:,}", "0", lost == 0)
    yield Figure(f"{name}: bytes", f"{summary['lost_bytes']:,} of {summary['bytes']:,} lost")
