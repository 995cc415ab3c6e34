"""``kebpf show`` as whole text, and as JSON that any reader takes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kebpf.cli.show import WIDTH, show
from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.protocols.registry import get_protocol
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.model import Endpoint, Losses, RecordedExchange, Role, Tls
from kebpf.recording.revision import RevisedSet
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet, TestSetError, TestSetWriter

APP = Endpoint("tcp", "127.0.0.1", 8000)
PEER = Endpoint("tcp", "127.0.0.1", 50000)
REDIS = Endpoint("tcp", "127.0.0.1", 6379)
SECOND = 1_000_000_000


def exchange_of(protocol: str, request: bytes, response: bytes, start: int, end: int) -> Exchange:
    """The exchange that the protocol's own pairer makes of two pieces of bytes."""
    pairer = get_protocol(protocol).make_pairer()
    found = pairer.receive_data(Sender.CLIENT, request, Mark(start, 1))
    found += pairer.receive_data(Sender.SERVER, response, Mark(end, 1))
    (exchange,) = found
    return exchange


def http(target: str, body: bytes, answer: bytes, start: int, end: int) -> RecordedExchange:
    request = (
        f"POST {target} HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    response = (
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(answer)
    ) + answer
    exchange = exchange_of("http", request, response, start, end)
    return RecordedExchange(exchange, Role.SERVER, 1, APP, PEER, 1)


def redis(request: bytes, response: bytes, start: int, end: int) -> RecordedExchange:
    exchange = exchange_of("redis", request, response, start, end)
    return RecordedExchange(exchange, Role.CLIENT, 2, PEER, REDIS, 1)


def make_set(folder: Path, key: bytes = b"cart", tls: Tls | None = None, **said: Any) -> Path:
    builder = RecordingBuilder(TestSetWriter(folder, None), folder.name)
    get = b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key)
    builder.add(redis(b"*1\r\n$6\r\nDBSIZE\r\n", b":0\r\n", 1 * SECOND, 2 * SECOND))
    call = redis(get, b"$2\r\n\xff\xfe\r\n", 11 * SECOND, 12 * SECOND)
    request = http("/orders", b'{"n":1}', b'{"ok":true}', 10 * SECOND, 20 * SECOND)
    for recorded in (call, request):
        builder.add(replace(recorded, tls=tls))
    builder.finish(
        created_ns=1_700_000_000 * SECOND,
        kebpf_version="0.1.0",
        command=["python", "app.py"],
        events=1234,
        captured_bytes=5678,
        seconds=12.5,
        losses=Losses(lost_events=2, left_out={"cut off": 3}),
        **said,
    )
    return folder


def show_text(path: Path, as_json: bool = False) -> str:
    out = io.StringIO()
    assert show(path, as_json, out) == 0
    return out.getvalue()


def test_people_see_the_set_at_a_glance(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "orders")
    case = TestSet.open(folder).cases()[0]
    describe = get_protocol("redis").describe
    call = describe(TestSet.open(folder).mock_at(_offset_of(folder, "mock-000002")).request)
    assert show_text(folder) == (
        "orders: python app.py\n"
        "  recorded 2023-11-14 22:13:20 UTC in 12.5 s by kebpf 0.1.0\n"
        "  1 test case, 2 mocks, 1,234 events, 5,678 bytes\n"
        "  lost: 2 events\n"
        "  left out: 3 × cut off\n"
        "\n"
        "   1  POST /orders → 201\n"
        f"      {case.name}\n"
        f"      {case.strength.exact} values exact, 0 by class, 0 not compared\n"
        f"       redis 127.0.0.1:6379  {call}\n"
        "\n"
        "Calls of no test case: 1 start-up\n"
    )
    assert case.name.startswith("post-orders-")
    assert "cart" in call


def test_what_was_recorded_and_what_was_not_is_said(tmp_path: Path) -> None:
    before = {"statements": 9, "names": ["S_1", "S_2"], "connections": 2, "calls": 40}
    folder = make_set(
        tmp_path / "shop-1",
        target="unit shop.service",
        filters=["--port 8000", "--inbound-only"],
        extra={
            "prepared_before": {"10.0.0.2:5432": before},
            "unparsed": {"encrypted (TLS)": 2},
            "not_captured": [{"pid": 7, "process": "nginx", "bytes": 1234, "why": "by sendfile"}],
        },
    )
    assert show_text(folder).splitlines()[3:11] == [
        "  target: unit shop.service",
        "  only some connections: --port 8000 --inbound-only",
        "  lost: 2 events",
        "  left out: 3 × cut off",
        "  not parsed: 2 × encrypted (TLS)",
        "  nginx (process 7) moved 1,234 bytes by sendfile: known, not captured",
        '  10.0.0.2:5432: 9 statements prepared before the recording ("S_1", "S_2" and 7',
        "    more) on 2 connections; 40 calls by them left out",
    ]


def _offset_of(folder: Path, name: str) -> int:
    return next(at for at, mock in TestSet.open(folder).iter_mocks() if mock.name == name)


def test_lines_are_cut_to_the_width(tmp_path: Path) -> None:
    text = show_text(make_set(tmp_path / "orders", b"long-" * 100))
    assert max(map(len, text.splitlines())) <= WIDTH


def test_json_has_one_object_a_line_tests_first(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in show_text(make_set(tmp_path / "s"), True).splitlines()]
    assert [(line["kind"], line["protocol"]) for line in lines] == [
        ("test", "http"),
        ("mock", "redis"),
        ("mock", "redis"),
    ]
    case, start, call = lines
    assert case["request"]["method"] == "POST"
    assert case["request"]["body"] == {"n": 1}
    assert case["response"]["body"] == {"ok": True}
    assert case["calls"] == [call["name"]] == ["mock-000002"]
    assert (call["case"], call["tier"], start["tier"]) == (case["name"], "case", "startup")
    assert {"base64": "//4="} in _values(call["response"])


def test_what_was_encrypted_is_marked(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "s", tls=Tls("cache.example", "", "TLSv1.2"))
    lines = [json.loads(line) for line in show_text(folder, True).splitlines()]
    known = {"sni": "cache.example", "alpn": "", "version": "TLSv1.2"}
    assert [line["tls"] for line in lines] == [known, None, known]
    text = show_text(folder)
    assert "  POST /orders → 201 (TLS)\n" in text
    assert " redis 127.0.0.1:6379 (TLS)  " in text


def _values(tree: object) -> list[object]:
    below = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tree, *(value for item in below for value in _values(item))]


def test_a_set_that_is_not_whole_is_told(tmp_path: Path) -> None:
    with pytest.raises(TestSetError, match="there is no test set"):
        show(tmp_path / "none", False, io.StringIO())


def test_a_call_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "orders")
    (path,) = (folder / "tests").iterdir()
    path.write_text(path.read_text().replace("- mock-000002", "- mock-000009"))
    assert "mock-000009 is not among the mocks" in show_text(folder)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reader_may_stop_reading(tmp_path: Path, as_json: bool) -> None:
    """As with ``| head -1``: the first line comes, then the pipe breaks in the known way."""
    folder = make_set(tmp_path / "orders")
    code = (
        "import sys\nfrom pathlib import Path\nfrom kebpf.cli.show import show\n"
        "sys.stdin.readline()\n"
        f"try:\n    show(Path({str(folder)!r}), {as_json}, open(1, 'w', closefd=False))\n"
        "except BrokenPipeError:\n    sys.exit(141)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.wait() == 141


def test_cases_set_apart_are_listed_at_the_end(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    test_set = TestSet.open(folder)
    revised = RevisedSet(test_set)
    name = test_set.cases()[0].name
    revised.set_apart(name, "the status was 200 and is 503")
    revised.manifest.verified = {"runs": 6, "passed": 1, "generalised": 2, "set_apart": 1}
    rewrite_set(test_set, revised)
    text = show_text(folder)
    assert "  verified in 6 runs: 1 passed, 2 generalised, 1 set apart\n" in text
    head, _, rest = text.partition("Set apart, so not run: 1 test case\n")
    assert name not in head
    assert name in rest
    assert rest.endswith("the status was 200 and is 503\n")
    apart = [
        entry["name"]
        for entry in map(json.loads, show_text(folder, as_json=True).splitlines())
        if entry.get("set_apart")
    ]
    assert apart == [name]
