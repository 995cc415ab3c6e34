"""A soak of the agent: a busy service restarted every minute, and what that cost and lost.

Run as ``python -m tests.e2e.soak --minutes 30``; prints a line for each restart and a verdict at
the end, and exits with 1 when something was not as it has to be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TextIO

from kebpf.agent.status import measure_folder
from tests.e2e.agents import Agent, Unit, making_unit, running_agent

CLIENTS = 4
FOLLOW_SECONDS = 1.0
PARSED_SECONDS = 600.0  # the parsing runs only where the host has nothing else to do
WARM_SECONDS = 300.0  # memory may grow as long as the first sets and caches fill
MOST_GROWTH = 1.10  # of memory after that
ROUTES = 12

# Answers at once, and as cheaply as Python can: what is measured is not this.
SERVICE = """
import asyncio, sys
MORE = b"some words " * 1000
class Service(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.unread = transport, b""
    def data_received(self, data):
        self.unread += data
        while b"\\r\\n\\r\\n" in self.unread:
            head, _, self.unread = self.unread.partition(b"\\r\\n\\r\\n")
            path = head.split(b" ", 2)[1]
            body = b'{"version": "{version}", "path": "' + path + b'", "more": "' + MORE + b'"}'
            self.transport.write(
                b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n"
                b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body
            )
async def main():
    server = await asyncio.get_running_loop().create_server(
        Service, "127.0.0.1", int(sys.argv[1])
    )
    print("listening", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass
class Load:
    """Clients at a steady rate, which can be made to rest; ``failed`` tells of each failure."""

    port: int
    rate: float
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds
    _may_run: threading.Event = field(default_factory=threading.Event)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: int = 0
    _rest: threading.Condition = field(default_factory=threading.Condition)

    def run(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        due, count = time.monotonic(), number
        while not self._is_over.is_set():
            if not self._may_run.is_set():
                connection.close()
                self._may_run.wait(0.1)
                due = time.monotonic()
                continue
            with self._rest:
                self._running += 1
            self._send(connection, f"/route{count % ROUTES}/{count}?q={count}")
            with self._rest:
                self._running -= 1
                self._rest.notify_all()
            count += CLIENTS
            due += CLIENTS / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    def _send(self, connection: HTTPConnection, path: str) -> None:
        begun = time.monotonic()
        try:
            connection.request("GET", path)
            answer = connection.getresponse().read()
            error = "" if json.loads(answer)["path"] == path else f"wrong answer to {path}"
        except (OSError, HTTPException, ValueError) as failure:
            connection.close()
            error = f"{type(failure).__name__} at {path}"
        with self._lock:
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if error:
                self.failed.append(error)

    def rest(self) -> None:
        """No request is under way when it returns."""
        self._may_run.clear()
        with self._rest:
            self._rest.wait_for(lambda: not self._running, 15)
        time.sleep(0.2)  # a client between its look and its request

    def go_on(self) -> None:
        self._may_run.set()

    def end(self) -> None:
        self._is_over.set()


@contextmanager
def loading(port: int, rate: float) -> Iterator[Load]:
    load = Load(port, rate)
    clients = [threading.Thread(target=load.run, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        load.end()
        for client in clients:
            client.join()


@dataclass
class Sample:
    """The agent at one moment; sizes in bytes."""

    seconds: float
    memory: int
    disk: int
    status: dict[str, Any]


class Soak:
    """One run; `judge` says what was not as it has to be."""

    def __init__(self, agent: Agent, unit: Unit, quota: int, deployments: int, out: TextIO) -> None:
        self._agent = agent
        self._unit = unit
        self._quota = quota
        self._deployments = deployments
        self._out = out
        self._begun = time.monotonic()
        self.samples: list[Sample] = []
        self.largest = 0  # bytes on the disk
        self.followed: list[float] = []  # seconds

    def run(self, load: Load, minutes: float, every: float) -> None:
        """Restarts the service every so many seconds."""
        end = self._begun + 60 * minutes
        while time.monotonic() < end:
            self._restart(load)
            until = min(end, time.monotonic() + every)
            while time.monotonic() < until:
                time.sleep(1.0)
                self.largest = max(self.largest, measure_folder(self._agent.output))
            self._take_sample(load)
        load.rest()

    def _restart(self, load: Load) -> None:
        load.rest()
        self._unit.stop()
        if self._deployments and not len(self.followed) % self._deployments:
            self._unit.deploy(f"{1 + len(self.followed) // self._deployments}")
        pid = self._unit.start()
        begun = time.monotonic()
        self._agent.wait_watched("shop", pid)
        told = time.monotonic() - begun  # after it listened; what is asked comes twice a second
        target = self._agent.target("shop")
        self.followed.append(target["follow_seconds"] or 0.0)
        if self.followed[-1] > FOLLOW_SECONDS:
            self._out.write(f"followed {self.followed[-1]:.2f} s late (told after {told:.2f} s)\n")
        load.go_on()

    def _take_sample(self, load: Load) -> None:
        status = self._agent.status()
        [target] = status["targets"]
        seconds = time.monotonic() - self._begun
        one = Sample(seconds, status["memory_bytes"], status["disk_bytes"], target)
        self.samples.append(one)
        self._out.write(
            f"{seconds:6.0f} s: {load.sent:,} sent, {target['requests']:,} recorded, "
            f"{target['test_cases']:,} kept in {len(self._agent.sets('shop'))} sets, "
            f"{len(load.failed)} failed, "
            f"{one.memory / 2**20:.0f} MiB, {one.disk / 2**20:.1f} MiB on disk, "
            f"followed in {self.followed[-1] * 1000:.0f} ms, "
            f"{target['lost_events']} events and {target['lost_bytes']} bytes lost\n"
        )
        self._out.flush()

    def judge(self, load: Load) -> Iterator[str]:
        """Sentences on what was wrong."""
        if load.failed:
            yield f"{len(load.failed)} requests failed, such as {load.failed[0]}"
        late = [seconds for seconds in self.followed if seconds > FOLLOW_SECONDS]
        if late:
            yield f"{len(late)} restarts were followed late, by {max(late):.2f} s at most"
        if self._quota and self.largest > self._quota:
            yield f"{self.largest} bytes were on the disk, of {self._quota} that may be"
        target = self.samples[-1].status
        if target["failures"]:
            yield f"{target['failures']} recorders failed: {target['last_error']}"
        missing = load.sent - target["requests"]
        if missing and not (target["lost_events"] or target["lost_bytes"]):
            yield f"{missing} requests were neither recorded nor said to be lost"
        yield from self._judge_memory()

    def _judge_memory(self) -> Iterator[str]:
        warm = [one.memory for one in self.samples if one.seconds > WARM_SECONDS]
        third = len(warm) // 3
        if third:
            first, last = sum(warm[:third]) / third, sum(warm[-third:]) / third
            if last > MOST_GROWTH * first:
                yield f"memory grew from {first / 2**20:.0f} to {last / 2**20:.0f} MiB"

    def summarise(self, load: Load) -> str:
        memory = [one.memory / 2**20 for one in self.samples]
        latencies = sorted(self.followed)
        return (
            f"{load.sent:,} requests, {len(self.followed)} restarts followed in "
            f"{latencies[len(latencies) // 2] * 1000:.0f} ms (median), "
            f"{latencies[-1] * 1000:.0f} ms at most; memory {min(memory):.0f} to "
            f"{max(memory):.0f} MiB; {self.largest / 2**20:.1f} MiB on disk at most; the slowest "
            f"request took {load.slowest * 1000:.0f} ms"
        )


def soak(folder: Path, options: argparse.Namespace, out: TextIO) -> int:
    with making_unit("shop", folder) as unit:
        unit.source = SERVICE
        unit.deploy("1")
        limits = f"limits:\n  disk: {options.quota}M\n" if options.quota else ""
        with (
            running_agent(folder, "unit: shop", more=limits) as agent,
            loading(unit.port, options.rate) as load,
        ):
            run = Soak(agent, unit, options.quota << 20, options.deployments, out)
            run.run(load, options.minutes, options.every)
            with suppress(AssertionError):  # then `judge` says what is missing
                agent.wait_until("shop", lambda one: one["requests"] >= load.sent, PARSED_SECONDS)
            run._take_sample(load)
            with suppress(OSError):
                agent.end()
            out.write(f"{run.summarise(load)}\n")
            wrong = list(run.judge(load))
    for sentence in wrong:
        out.write(f"WRONG: {sentence}\n")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two restarts")
    parser.add_argument("--quota", type=int, default=0, help="MiB of disk; 0 for none")
    parser.add_argument(
        "--deployments",
        type=int,
        default=1,
        help="a new version with every so many restarts; 0 for none",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kebpf-soak-") as name:
        return soak(Path(name), options, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
