"""``kebpf doctor`` as whole text, as JSON, and on the host at hand."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.checks import Check, Part, Status, passed, report_problem, warn
from kebpf.capture.preflight import Preflight
from kebpf.capture.probes import Door
from kebpf.cli.doctor import WIDTH, report

ROOT = Path(__file__).parents[2]
KERNEL = passed("kernel", "Linux 6.8.0")
WRONG_BCC = report_problem(
    "bcc",
    "bcc is not to be had (/usr/bin/python3: ModuleNotFoundError: No module named 'bcc')",
    "install the distribution's package: `apt-get install python3-bpfcc`",
)
NO_CGROUP = report_problem("cgroup v2", "none", "mount it", Part.REPLAY)
OWN_IDS = report_problem("container", "docker", "leave it", Part.RECORD)


class FakePreflight(Preflight):
    def __init__(self, *checks: Check, is_rootless: bool = False) -> None:
        self._checks = checks
        self.door = None
        self.is_rootless = is_rootless

    def run(self) -> Iterator[Check]:
        yield from self._checks
        self.door = Door.A


def run_report(*checks: Check, as_json: bool = False, is_rootless: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    status = report(FakePreflight(*checks, is_rootless=is_rootless), as_json, out)
    return status, out.getvalue()


def last_line(*checks: Check) -> str:
    return run_report(*checks)[1].rpartition("\n\n")[2]


def test_all_is_well() -> None:
    assert run_report(KERNEL) == (
        0,
        "ok       kernel            Linux 6.8.0\n\nthis host can record and replay\n",
    )


def test_the_remedy_stands_right_below() -> None:
    assert run_report(KERNEL, WRONG_BCC) == (
        3,
        "ok       kernel            Linux 6.8.0\n"
        "problem  bcc               bcc is not to be had (/usr/bin/python3:\n"
        "                           ModuleNotFoundError: No module named 'bcc')\n"
        "                           to do: install the distribution's package: `apt-get\n"
        "                                  install python3-bpfcc`\n"
        "\n"
        "this host can neither record nor replay; in the way: bcc\n",
    )


def test_a_warning_is_not_in_the_way() -> None:
    assert run_report(warn("seccomp", "a filter", "leave it"))[0] == 0


def test_what_can_still_be_done_is_said() -> None:
    assert last_line(NO_CGROUP) == "this host can record but not replay; in the way: cgroup v2\n"
    assert last_line(OWN_IDS) == "this host can replay but not record; in the way: container\n"
    assert last_line(OWN_IDS, NO_CGROUP) == (
        "this host can neither record nor replay; in the way: container, cgroup v2\n"
    )


def test_a_test_without_root_is_said_to_work_where_the_other_does_not() -> None:
    instead = "; `kebpf test --rootless` works"
    for check, is_said in [(NO_CGROUP, True), (WRONG_BCC, True), (OWN_IDS, False)]:
        status, text = run_report(KERNEL, check, is_rootless=True)
        assert status == 3
        assert (instead in " ".join(text.split())) is is_said
    assert "--rootless" not in run_report(KERNEL, is_rootless=True)[1]


def test_json_is_one_object() -> None:
    status, text = run_report(KERNEL, NO_CGROUP, as_json=True)
    assert status == 3
    assert json.loads(text) == {
        "ok": False,
        "door": "a",
        "rootless": False,
        "checks": [
            {"name": "kernel", "status": "ok", "found": "Linux 6.8.0", "remedy": ""},
            {"name": "cgroup v2", "status": "problem", "found": "none", "remedy": "mount it"},
        ],
    }
    assert run_report(KERNEL, as_json=True)[0] == 0


def run_doctor(*words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "kebpf.cli.main", "doctor", *words],
        capture_output=True,
        text=True,
        env=environment,
        user=user,
        check=False,
    )


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
class TestOnThisHost:
    def test_this_host_can_record_and_replay(self) -> None:
        done = run_doctor()
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[-1] == "this host can record and replay"
        assert max(map(len, lines)) <= WIDTH

    def test_json_says_the_same(self) -> None:
        found = json.loads(run_doctor("--json").stdout)
        assert found["ok"] is True
        assert found["door"] in ("a", "b")
        assert {check["status"] for check in found["checks"]} <= {"ok", "warning"}

    def test_the_documentation_knows_every_check(self) -> None:
        page = (ROOT / "docs" / "how-to" / "when-it-does-not-record.md").read_text()
        names = [check["name"] for check in json.loads(run_doctor("--json").stdout)["checks"]]
        assert [name for name in names[1:] if f"`{name}`" not in page] == []

    def test_an_ordinary_user_is_told_what_was_not_looked_at(self) -> None:
        done = run_doctor("--json", user="nobody")
        assert (done.returncode, done.stderr) == (3, "")
        found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        problems = [name for name, check in found.items() if check["status"] == "problem"]
        assert problems == ["privileges"]
        assert found["redirect loads"]["found"] == "not tried: it needs root"


def test_status_is_a_word_of_the_json() -> None:
    assert [status.value for status in Status] == ["ok", "warning", "problem"]
