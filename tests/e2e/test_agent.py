"""The agent on real services: followed over restarts and deployments, and harmed by nothing."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.recorder import find_kebpf, with_sources
from tests.e2e.agents import Agent, Unit, list_paths, making_unit, running_agent

NOBODY = pwd.getpwnam("nobody").pw_uid

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Unit]:
    with making_unit("shop", tmp_path) as unit:
        yield unit


@pytest.fixture
def pay(tmp_path: Path) -> Iterator[Unit]:
    with making_unit("pay", tmp_path) as unit:
        yield unit


def test_a_unit_is_followed_over_restarts_and_deployments(tmp_path: Path, shop: Unit) -> None:
    with running_agent(tmp_path, "unit: shop") as agent:
        assert agent.target("shop")["state"] == "waiting"
        for path in ("/first", "/restarted"):
            first = agent.wait_watched("shop", shop.start())
            assert shop.fetch(path) == f"1 {path}".encode()
            shop.stop()
        shop.deploy("2")
        second = agent.wait_watched("shop", shop.start())
        assert second["version"] != first["version"]
        assert shop.fetch("/deployed") == b"2 /deployed"
        agent.wait_for(f"{first['set']} is whole")
        assert second["programs_followed"] == 3
        assert agent.end() == 0
        assert shop.fetch("/unharmed") == b"2 /unharmed"
        old, new = agent.sets("shop")
    assert [str(old), str(new)] == [first["set"], second["set"]]
    assert (list_paths(old), list_paths(new)) == (["/first", "/restarted"], ["/deployed"])
    assert stat.S_IMODE(old.stat().st_mode) == 0o700


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that any user may look into."""
    with tempfile.TemporaryDirectory(prefix="kebpf-agent-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def find_users(pid: int) -> set[int]:
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {Path(f"/proc/{one}/task").stat().st_uid for one in (pid, *children)}


def test_one_bad_target_never_stops_the_others(open_folder: Path, shop: Unit, pay: Unit) -> None:
    """Confined and limited, too."""
    (open_folder / "sets").mkdir(0o711)
    (open_folder / "sets" / "pay").write_text("in the way")
    targets = "unit: pay.service", f"executable: {shop.program}"
    more = "user: nobody\nlimits: {disk: 50M, rate: 50M/s}\n"
    with running_agent(open_folder, *targets, more=more) as agent:
        pay.start()
        agent.wait_watched("service.py", shop.start())
        failing = agent.wait_until("pay", lambda one: one["failures"] >= 2)
        assert "pay" in failing["last_error"]
        working = agent.target("service.py")
        assert working["state"] == "recording"
        assert find_users(working["recorders"][0]) == {0, NOBODY}
        shop.fetch("/works")
        (open_folder / "sets" / "pay").unlink()
        agent.wait_watched("pay", pay.pid)
        pay.fetch("/at-last")
        assert agent.end() == 0
        [works], [at_last] = agent.sets("service.py"), agent.sets("pay")
    assert (list_paths(works), list_paths(at_last)) == (["/works"], ["/at-last"])
    assert {path.stat().st_uid for path in works.rglob("*")} == {NOBODY}


def ask(agent: Agent, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*find_kebpf(), *words],
        env={**os.environ, **with_sources({})},
        capture_output=True,
        text=True,
        check=False,
    )


def check_status_and_metrics(agent: Agent) -> None:
    """Seven requests to the shop, and another target that does not run."""
    shown = ask(agent, "status", "--socket", str(agent.socket))
    assert shown.returncode == 0
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert "follows   python3" in shown.stdout
    assert stat.S_IMODE(agent.socket.stat().st_mode) == 0o600
    address = f"http://127.0.0.1:{agent.metrics_port}/metrics"
    with urllib.request.urlopen(address) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = {
        (one.name, one.labels.get("target", "")): one.value
        for family in families
        for one in family.samples
    }
    assert samples["kebpf_target_requests_total", "shop"] == 7
    assert samples["kebpf_target_up", "shop"] == 1
    assert samples["kebpf_target_up", "program"] == 0


def test_status_metrics_a_second_agent_and_a_reload_that_touches_only_what_was_changed(
    tmp_path: Path, shop: Unit, pay: Unit
) -> None:
    with running_agent(tmp_path, "unit: shop", "executable: /no/such/program") as agent:
        before = agent.wait_watched("shop", shop.start())
        pay.start()
        for number in range(7):
            shop.fetch(f"/{number}")
        agent.wait_until("shop", lambda one: one["requests"] == 7)
        check_status_and_metrics(agent)
        second = ask(agent, "agent", "--config", str(agent.config))
        assert second.returncode == 3
        assert second.stderr.startswith("kebpf: another kebpf agent runs already (process ")
        agent.await_told("WATCHDOG=1")
        agent.configure("unit: shop", f"listen: {pay.port}", "unit: [")
        os.kill(agent.pid, signal.SIGHUP)
        refused = agent.wait_for("the configuration is refused, the old one stays")
        assert f"{agent.config}, line 8: not valid YAML" in refused
        assert agent.status()["config_error"] in refused
        agent.configure("unit: shop", f"listen: {pay.port}")
        os.kill(agent.pid, signal.SIGHUP)
        agent.wait_for("reloaded: 1 targets new or changed, 1 as before, 1 ended")
        agent.wait_watched(f"port-{pay.port}", pay.pid)
        assert agent.status()["config_error"] == ""
        assert agent.target("shop")["recorders"] == before["recorders"]
        pay.fetch("/by-port")
        agent.configure("unit: shop")
        os.kill(agent.pid, signal.SIGHUP)
        agent.wait_for("reloaded: 0 targets new or changed, 1 as before, 1 ended")
        agent.wait_for("is whole: 1 requests")
        assert [one["name"] for one in agent.status()["targets"]] == ["shop"]
        [by_port] = agent.sets(f"port-{pay.port}")
    assert list_paths(by_port) == ["/by-port"]
    assert not any("/3" in line for line in agent.process.lines)


def test_kill_9_of_either_process_harms_nobody(tmp_path: Path, shop: Unit) -> None:
    with running_agent(tmp_path, "unit: shop") as agent:
        first = agent.wait_watched("shop", shop.start())
        [recorder] = first["recorders"]
        assert shop.fetch("/before") == b"1 /before"
        agent.wait_until("shop", lambda one: one["requests"] == 1)
        os.kill(recorder, signal.SIGKILL)
        agent.wait_for("the recorder process was ended by SIGKILL; it is tried again")
        again = agent.wait_watched("shop", shop.pid)
        assert (again["failures"], again["set"] != first["set"]) == (1, True)
        assert recorder not in again["recorders"]
        agent.wait_until("shop", lambda _: Path(first["set"]).exists())
        assert shop.fetch("/kept") == b"1 /kept"
        agent.wait_until("shop", lambda one: one["requests"] == 2)
        os.kill(agent.pid, signal.SIGKILL)
        agent.process.wait(60)
        assert shop.fetch("/unharmed") == b"1 /unharmed"
        with running_agent(tmp_path, "unit: shop") as successor:
            successor.wait_watched("shop", shop.pid)
            kept = Path(again["set"])
            successor.wait_until("shop", lambda _: kept.exists())
    assert list_paths(Path(first["set"])) == ["/before"]
    assert list_paths(kept) == ["/kept"]
