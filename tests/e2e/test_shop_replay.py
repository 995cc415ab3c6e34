"""The shop, recorded while it serves, passes its own recording with everything else off."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.e2e.conftest import ShopRecording, ShopRecordings
from tests.e2e.kebpf_runs import Entry, run_shop_test
from tests.e2e.shop_trace import SESSION_COMMANDS

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

SESSION = re.compile(r"(?<=session:)[\w-]+")
FORMS = ("attached", "fresh", "alone")
ESCAPES = {
    ord(letter): f"\\{name}" for letter, name in zip('\n\r\t\a\b"\\', 'nrtab"\\', strict=True)
}


@pytest.fixture(params=FORMS)
def recorded(request: pytest.FixtureRequest, shop_recordings: ShopRecordings) -> ShopRecording:
    """Each of the recordings in turn."""
    found: ShopRecording = getattr(shop_recordings, request.param)
    return found


def sum_calls(recorded: ShopRecording, protocol: str) -> int:
    """The calls in a set, as the server of that protocol counts them."""
    return sum(mock["calls"] for mock in recorded.mocks(protocol))


def quote_for_monitor(argument: Any) -> str:
    """An argument as Redis's MONITOR writes it (``sdscatrepr``)."""
    text = argument if isinstance(argument, str) else json.dumps(argument)  # shown as a tree
    raw = text.encode()
    plain = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in raw)
    return '"' + "".join(ESCAPES.get(b, p) for b, p in zip(raw, plain, strict=True)) + '"'


def list_redis_commands(mock: Entry) -> Iterator[str]:
    """The commands of a mock as MONITOR shows them; a transaction is one mock."""
    request = mock["request"]
    opening = [["MULTI"]] if "queued" in request else []
    for words in [*opening, *request.get("queued", []), request["command"]]:
        line = " ".join(map(quote_for_monitor, words))
        if not line.startswith(SESSION_COMMANDS):
            yield f"redis {line}"


def list_http_request(mock: Entry) -> str:
    """A recorded request as the rates service notes it."""
    request = mock["request"]
    query = urlencode([(name, value) for name, value in request["query"]])
    body = request["body"]
    sent = json.dumps(body, separators=(",", ":")) if body is not None else ""
    return f"http {request['method']} {request['path']}{'?' if query else ''}{query} {sent}"


def test_every_request_sent_is_a_case_and_nothing_was_lost(recorded: ShopRecording) -> None:
    summary = recorded.summary
    assert len(recorded.cases) == recorded.requests
    assert summary["test_cases"] == recorded.requests
    assert summary["left_out"] == {}
    lost = ("lost_events", "lost_bytes", "unparsed_connections")
    assert {name: summary[name] for name in lost} == dict.fromkeys(lost, 0)


@pytest.mark.parametrize("protocol", ["postgres", "redis", "http"])
def test_calls_are_as_many_as_the_server_counted(recorded: ShopRecording, protocol: str) -> None:
    assert recorded.counts[protocol] > 0
    assert sum_calls(recorded, protocol) == recorded.counts[protocol]


def test_statements_are_those_in_the_log_of_postgres(recorded: ShopRecording) -> None:
    """Failed ones too, which its statistics do not count."""
    logged = Counter(
        call.removeprefix("sql ").partition(" -- ")[0]
        for call in recorded.calls
        if call.startswith("sql ")
    )
    held = Counter(
        mock["request"]["sql"]
        for mock in recorded.mocks("postgres")
        if mock["request"].get("kind", "query") == "query"
    )
    assert held == logged
    failed = [mock for mock in recorded.mocks("postgres") if mock["calls"] == 0]
    assert any("INSERT INTO customers" in mock["request"].get("sql", "") for mock in failed)


def test_commands_are_those_redis_saw(recorded: ShopRecording) -> None:
    """But the tokens of sessions, each of which is another one everywhere."""
    seen = [call for call in recorded.calls if call.startswith("redis ")]
    held = [line for mock in recorded.mocks("redis") for line in list_redis_commands(mock)]
    assert Counter(SESSION.sub("", line) for line in held) == Counter(
        SESSION.sub("", call) for call in seen
    )
    tokens, others = find_sessions(held), find_sessions(seen)
    assert tokens and tokens.keys().isdisjoint(others)
    assert sorted(tokens.values()) == sorted(others.values())


def find_sessions(lines: list[str]) -> Counter[str]:
    """How often each session's token is there."""
    return Counter(found for line in lines for found in SESSION.findall(line))


def test_http_requests_are_those_the_rates_service_saw(recorded: ShopRecording) -> None:
    seen = Counter(call for call in recorded.calls if call.startswith("http "))
    assert Counter(map(list_http_request, recorded.mocks("http"))) == seen


@pytest.mark.parametrize("form", FORMS)
def test_same_version_passes_with_everything_off(
    form: str, shop_recordings: ShopRecordings, tmp_path: Path
) -> None:
    recorded: ShopRecording = getattr(shop_recordings, form)
    services = shop_recordings.services
    backends = (services.postgres, services.redis, services.rates)
    assert all(server.exit_status is not None for server in backends)
    run = run_shop_test(services, recorded.path, tmp_path / "events.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    finished = run.finished
    assert finished["passed"] == len(run.cases) == recorded.requests
    verdicts = ("failed", "errored", "skipped", "misses", "findings")
    assert not any(finished[name] for name in verdicts), run.explain()
