"""Without root the same verdicts as with it: for the shop, its regressions, and wild attempts."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.processes import Process, find_free_port
from examples.recorder import find_kebpf, with_sources
from examples.services import EXAMPLES
from tests.e2e.conftest import ShopRecordings, skip_unless_root
from tests.e2e.kebpf_runs import Entry, TestRun, recording, run_kebpf_test
from tests.e2e.ordinary import open_folder
from tests.e2e.reaching_target import KINDS, NAMESERVER, RECORDED
from tests.kernel.rootless_runs import list_labelled, skip_unless_reachable

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

TARGET = Path(__file__).with_name("reaching_target.py")
USER = "nobody"
LIMIT_S = 100.0
JUDGED = ("verdict", "mismatches", "calls", "error", "exact", "by_class")
BUGS = ("lost_insert",)
SEEN = "import os, sys; print(os.getuid(), os.getgid(), os.environ['HOME'])"


@pytest.fixture(autouse=True)
def _reachable() -> None:
    skip_unless_root()
    skip_unless_reachable()


@dataclass(frozen=True)
class Stand:
    """A recording, how to start what was recorded, and where an ordinary user may work."""

    path: Path
    command: str
    folder: Path
    environment: Mapping[str, str]

    def test(self, *words: str, bug: str = "") -> TestRun:
        """As root, the plain form."""
        environment = {**self.environment, "SHOP_BUG": bug}
        options = [*words, str(self.path), "-c", self.command]
        return run_kebpf_test(options, self.folder / "plain.jsonl", environment, EXAMPLES)

    def test_rootless(self, *words: str, bug: str = "") -> TestRun:
        """As an ordinary user, with a copy of the recording that is theirs."""
        theirs, report = self.folder / "theirs", self.folder / "theirs.jsonl"
        shutil.rmtree(theirs, ignore_errors=True)
        shutil.copytree(self.path, theirs)
        report.write_text("")
        for path in (theirs, *theirs.rglob("*"), report):
            shutil.chown(path, USER)
        options = ["test", "--rootless", *words, str(theirs), "-c", self.command]
        return run_as_user([*options, "--json", str(report)], report, self.environment, bug)


def run_as_user(
    words: list[str], report: Path, environment: Mapping[str, str], bug: str = ""
) -> TestRun:
    label = f"KEBPF_RUN={uuid.uuid4()}"
    marked = {**environment, "SHOP_BUG": bug, "HOME": str(report.parent)}
    process = Process(
        "kebpf test --rootless",
        ["env", label, *find_kebpf(), *words],
        environment=with_sources(marked),
        folder=Path("/"),
        user=USER,
    )
    try:
        status = process.wait(LIMIT_S)
    finally:
        process.stop(signal.SIGINT)
    assert list_labelled(label) == [], "a process, and with it a namespace, is left"
    lines = report.read_text().splitlines()
    return TestRun(status, [json.loads(line) for line in lines], "\n".join(process.lines))


def judge(run: TestRun) -> dict[str, Entry]:
    """What each case came to, in all that a person is told of it."""
    return {case["case"]: {key: case[key] for key in JUDGED} for case in run.cases}


def tally(run: TestRun) -> Entry:
    return {name: value for name, value in run.finished.items() if "seconds" not in name}


@pytest.fixture
def shop(shop_recordings: ShopRecordings) -> Iterator[Stand]:
    services = shop_recordings.services
    command = f"cd {shlex.quote(str(EXAMPLES))} && exec {services.shop_command}"
    with open_folder() as folder:
        yield Stand(shop_recordings.attached.path, command, folder, services.shop_environment)


@pytest.mark.postgres
@pytest.mark.redis
def test_the_shop_passes_without_root(shop: Stand) -> None:
    run = shop.test_rootless()
    assert (run.status, run.failed) == (0, []), run.explain()
    assert run.finished["passed"] == len(run.cases) > 0
    assert {run.finished[name] for name in ("misses", "unused_mocks", "skipped")} == {0}


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.parametrize("bug", BUGS)
def test_regressions_fail_in_the_same_way(shop: Stand, bug: str) -> None:
    plain, rootless = shop.test(bug=bug), shop.test_rootless(bug=bug)
    assert plain.failed
    assert list_causes(rootless) == list_causes(plain)
    assert (rootless.status, len(rootless.cases)) == (plain.status, len(plain.cases))


def list_causes(run: TestRun) -> dict[str, Entry]:
    """What was found in each case that failed, without the values that differ from run to run."""
    return {
        case["case"]: {
            "mismatches": sorted((one["path"], one["kind"]) for one in case["mismatches"]),
            "calls": sorted((one["kind"], one["destination"]) for one in case["calls"]),
        }
        for case in run.failed
    }


def answer_names(door: socket.socket) -> None:
    """A name server that knows one address for every name (RFC 1035)."""
    record = bytes.fromhex("c00c 0001 0001 0000003c 0004 0a000009")
    while data := door.recvfrom(512):
        question, asker = data
        if not question:
            return
        head = question[:2] + bytes.fromhex("8180 0001 0001 0000 0000")
        door.sendto(head + question[12:] + record, asker)


@contextmanager
def name_server() -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(NAMESERVER)
        answering = threading.Thread(target=answer_names, args=(door,))
        answering.start()
        try:
            yield
        finally:
            door.sendto(b"", NAMESERVER)
            answering.join()


@pytest.fixture(scope="module")
def reaching() -> Iterator[Stand]:
    skip_unless_root()
    port = find_free_port()
    command = [sys.executable, str(TARGET), str(port)]
    with open_folder() as folder, name_server():
        service = Process("service", command)
        try:
            service.wait_for(lambda line: line == "ready")
            with recording(folder / "recording", "--pid", str(service.pid)):
                for kind in KINDS:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{kind}").close()
        finally:
            service.stop(signal.SIGKILL)
        yield Stand(folder / "recording", f"exec {shlex.join([*command, 'try'])}", folder, {})


def test_attempts_to_reach_elsewhere_are_told_in_the_same_words(reaching: Stand) -> None:
    plain, rootless = reaching.test(), reaching.test_rootless()
    assert len(plain.cases) == len(KINDS)
    outcomes, expected = judge(rootless), judge(plain)
    for case, found in outcomes.items():
        assert found == expected[case], case
    assert len(plain.failed) == len(KINDS) - len(RECORDED) - 1
    assert tally(rootless) == tally(plain)


def test_root_runs_the_same_form(reaching: Stand) -> None:
    plain, rootless = reaching.test(), reaching.test("--rootless")
    assert judge(rootless) == judge(plain)
    assert (rootless.status, tally(rootless)) == (plain.status, tally(plain))


def test_instances_side_by_side(reaching: Stand) -> None:
    """Each in a network of its own, so that all have the same ports."""
    one, several = reaching.test_rootless(), reaching.test_rootless("--jobs", "4")
    assert judge(several) == judge(one)
    totals = ("passed", "failed", "errored", "skipped", "misses")
    assert [tally(several)[name] for name in totals] == [tally(one)[name] for name in totals]


def test_each_case_alone(reaching: Stand) -> None:
    """The application is started anew, and with it the responder, in the one network."""
    rootless = reaching.test_rootless("--alone", "--case", "get-quiet*", "--case", "get-known*")
    assert (rootless.status, len(rootless.cases)) == (0, 2), rootless.output


def test_a_command_runs_on_mocks(reaching: Stand) -> None:
    """It is who it is outside, and its calls are answered."""
    folder = reaching.folder / "mocked"
    shutil.copytree(reaching.path, folder)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, USER)
    code = f"{SEEN}; sys.argv = ['', '0']; sys.path.insert(0, {str(TARGET.parents[2])!r}); "
    code += "from tests.e2e.reaching_target import ask_name; print(ask_name('known.example'))"
    command = [*find_kebpf(), "mock", "--rootless", str(folder), "--", sys.executable, "-c", code]
    environment = with_sources({**os.environ, "HOME": "/here"})
    process = Process("mock", command, environment=environment, folder=Path("/"), user=USER)
    try:
        assert process.wait(LIMIT_S) == 0, process.tail()
    finally:
        process.stop()
    user = pwd.getpwnam(USER)
    assert f"{user.pw_uid} {user.pw_gid} /here" in process.lines
    assert any(line.startswith("rcode 0, 1 records") for line in process.lines), process.tail()


def test_a_recording_that_is_roots_is_named(reaching: Stand) -> None:
    report = reaching.folder / "none.jsonl"
    report.write_text("")
    words = ["test", "--rootless", str(reaching.path), "-c", "true"]
    run = run_as_user(words, report, {})
    assert run.status == 3
    told = run.output.splitlines()
    assert len(told) <= 2
    assert "cannot be read" in told[0] and "denied" in told[0].lower()
