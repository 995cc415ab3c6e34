"""What is encrypted and makes no test case is said, beside what is read of the same program."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from examples.recorder import start_recorder, stop_recorder
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import Entry, read_set
from tests.e2e.tls.harness import Program
from tests.e2e.tls.rows import ROWS
from tests.e2e.tls.services import Services

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(300)]

REQUESTS = 20


def send(program: Program, version: str) -> str:
    """So many notes on one connection by curl; what it chose each time."""
    told, port = program.services.environment, program.services.port
    words = ["curl", "-sS", "--cacert", told["CA_FILE"], f"--http{version}", "-d", "hello"]
    words += ["-H", "Content-Type: text/plain", "-w", " %{http_version}\n"]
    url = f"https://localhost:{port}/ask/[1-{REQUESTS}]"
    done = subprocess.run([*words, url], capture_output=True, text=True, check=True, timeout=60)
    assert "olleh" in done.stdout
    [chosen] = {line.rpartition(" ")[2] for line in done.stdout.splitlines()}
    return chosen


def record(program: Program, path: Path) -> Entry:
    """A connection that speaks HTTP/2 and one that does not."""
    with program.running() as process:
        recorder = start_recorder(path, "--pid", str(process.pid))
        chosen = [send(program, "2"), send(program, "1.1")]
        summary = stop_recorder(recorder)
    assert chosen == ["2", "1.1"]
    return summary


def test_http2_is_opaque_and_said_to_be(tmp_path: Path) -> None:
    skip_unless_root()
    [row] = [row for row in ROWS if row.name == "go-echo"]
    reason = row.why_not()
    if reason is not None:
        pytest.skip(reason)
    row = dataclasses.replace(row, start=["./asker", "echo-h2"])
    with Services(tmp_path, None) as services:
        summary = record(Program(row, services), tmp_path / "set")
    assert summary["test_cases"] == REQUESTS
    [(name, served)] = summary["served"].items()
    assert "HTTP/2" in name and "opaque" in name and served["connections"] == 1
    assert "HTTP/2" in json.dumps(summary["notes"])
    cases = [one for one in read_set(tmp_path / "set") if one["kind"] == "test"]
    assert {case["response"]["body"] for case in cases} == {
        f"{number} olleh" for number in range(1, REQUESTS + 1)
    }
