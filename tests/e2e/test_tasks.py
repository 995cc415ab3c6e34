"""Calls of requests that share a thread go to the right ones by the asyncio task that sent them."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from examples.processes import Process, find_free_port
from examples.services import Services
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import Entry, read_set, recording

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

TARGET = Path(__file__).with_name("tasks_target.py")
REQUESTS, AT_ONCE = 160, 16
EARLIER = 100  # one by one: what the first of them show is needed to tell tasks apart
NAME = re.compile(r"req-\d+")


@dataclass(frozen=True)
class Service:
    process: Process
    url: str


@pytest.fixture(scope="module")
def service(shop_services: Services) -> Iterator[Service]:
    skip_unless_root()
    port = find_free_port()
    numbers = (port, shop_services.redis_port, shop_services.postgres_port)
    process = Process("tasks target", [sys.executable, TARGET, *map(str, numbers)])
    try:
        process.wait_for(lambda line: "Uvicorn running" in line)
        yield Service(process, f"http://127.0.0.1:{port}")
    finally:
        process.stop()


async def ask_many(url: str, count: int) -> tuple[dict[str, int], int]:
    """Requests, many at once: how often each asked for the same key, and when they began (ns)."""
    times = {f"req-{number}": 1 + number % 4 for number in range(count)}
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(client: httpx.AsyncClient, name: str) -> None:
        route = "stream" if int(name[4:]) % 3 == 0 else "write"
        async with places:
            answer = await client.get(
                f"{url}/{route}/{times[name]}", headers={"X-Request-Id": name}
            )
            assert answer.status_code == 200

    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        for number in range(EARLIER):
            await client.get(f"{url}/write/1", headers={"X-Request-Id": f"early-{number}"})
        began_ns = time.time_ns()
        await asyncio.gather(*(ask(client, name) for name in times))
    return times, began_ns


def name_of_case(case: Entry) -> str:
    headers = {key.lower(): value for key, value in case["request"]["headers"]}
    return str(headers["x-request-id"])


@pytest.mark.parametrize("door", ["a", "b"])
def test_each_call_is_its_requests(service: Service, tmp_path: Path, door: str) -> None:
    with recording(tmp_path / "set", "--pid", str(service.process.pid), "--door", door) as summary:
        times, began_ns = asyncio.run(ask_many(service.url, REQUESTS))
    entries = read_set(tmp_path / "set")
    entries = [one for one in entries if "timing" in one and one["timing"]["start_ns"] >= began_ns]
    names = {one["name"]: name_of_case(one) for one in entries if one["kind"] == "test"}
    mocks = [one for one in entries if one["kind"] == "mock"]
    assert summary["asyncio_processes"] == 1
    assert sorted(names.values()) == sorted(times)

    shared: Counter[str] = Counter()
    for mock in mocks:
        said = NAME.search(str(mock["request"]))
        if said is not None and ":after" in str(mock["request"]):
            assert mock["case"] is None or names[mock["case"]] == said[0]
        elif said is not None:
            assert (names[mock["case"]], mock["evidence"]) == (said[0], "task")
        elif "shared" in str(mock["request"]):
            assert mock["evidence"] == "task"
            shared[names[mock["case"]]] += 1
    assert shared == times
