"""A recording whose tokens have ended since: red in today's time, green in its own."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.processes import Process, find_free_port
from examples.services import EXAMPLES
from tests.e2e.clock_target import make_token
from tests.e2e.conftest import ShopRecordings, skip_unless_root
from tests.e2e.kebpf_runs import TestRun, recording, run_kebpf_test
from tests.e2e.ordinary import find_ordinary_user, give, open_folder
from tests.kernel.rootless_runs import skip_unless_reachable

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

TARGET = Path(__file__).with_name("clock_target.py")
LIFE_S = 3  # of the token; what follows the recording takes about as long anyway


@dataclass(frozen=True)
class Recorded:
    path: Path
    command: list[str]
    folder: Path

    def test(self, *words: str) -> TestRun:
        options = [*words, str(self.path), "-c", f"exec {shlex.join(self.command)}"]
        return run_kebpf_test(options, self.folder / "report", {}, self.folder)


def fetch(port: int, path: str, token: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
        return body


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Given when the token has ended."""
    skip_unless_root()
    folder, port = tmp_path_factory.mktemp("clock"), find_free_port()
    command = [sys.executable, str(TARGET), str(port)]
    service = Process("service", command)
    try:
        service.wait_for(lambda line: line == "ready")
        with recording(folder / "recording", "--no-redact", "--pid", str(service.pid)):
            expiry = int(time.time()) + LIFE_S
            assert fetch(port, "account", make_token(expiry)) == b'{"welcome": "ann"}'
            fetch(port, "timed", "")
    finally:
        service.stop(signal.SIGKILL)
    while time.time() <= expiry:
        time.sleep(0.1)  # until a point in time: there is no event for it
    yield Recorded(folder / "recording", command, folder)


def test_today_the_token_has_ended_and_that_is_said_before_the_run(recorded: Recorded) -> None:
    done = recorded.test()
    assert done.status == 1, done.output
    [failed] = done.failed
    assert failed["actual"]["status"] == 401
    before, _, _ = done.output.partition("1 passed, 1 failed")
    assert "a case carries a token (JWT) valid when recorded, expired since" in before
    assert "--clock recorded runs them in the time of the recording" in before


def test_in_the_time_of_the_recording_it_is_valid(recorded: Recorded) -> None:
    done = recorded.test("--clock", "recorded")
    assert (done.status, done.failed) == (0, []), done.output
    assert "carries a token" not in done.output


def test_without_root_too(recorded: Recorded) -> None:
    skip_unless_reachable()
    user = find_ordinary_user()
    with open_folder() as folder:
        shutil.copytree(recorded.path, folder / "recording")
        give(folder, user)
        words = [str(folder / "recording"), "-c", f"exec {shlex.join(recorded.command)}"]
        options = ["--rootless", "--clock", "recorded", *words]
        done = run_kebpf_test(options, folder / "report", {"HOME": str(folder)}, folder, user=user)
    assert (done.status, done.failed, len(done.cases)) == (0, [], 2), done.output


def test_each_case_alone_begins_at_its_own_time(recorded: Recorded) -> None:
    done = recorded.test("--clock", "recorded", "--alone")
    assert (done.status, done.failed) == (0, []), done.output


def test_a_program_it_cannot_be_given_to_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    """Also if it is found out only when it runs: behind a shell."""
    program = tmp_path / "busy"
    program.write_text(f"#!/bin/sh\nunset LD_PRELOAD\nexec {' '.join(recorded.command)}\n")
    program.chmod(0o755)
    words = ["--clock", "recorded", str(recorded.path), "-c", str(program)]
    done = run_kebpf_test(words, tmp_path / "report", {}, tmp_path)
    assert done.status == 3
    assert "did not load libfaketime; use --clock real" in done.output


@pytest.mark.postgres
@pytest.mark.redis
def test_the_shop_passes_in_its_own_time(shop_recordings: ShopRecordings, tmp_path: Path) -> None:
    services, path = shop_recordings.services, shop_recordings.alone.path
    words = ["--clock", "recorded", "-c", services.shop_command, str(path)]
    done = run_kebpf_test(words, tmp_path / "report", services.shop_environment, EXAMPLES)
    assert (done.status, done.failed) == (0, []), done.explain()
