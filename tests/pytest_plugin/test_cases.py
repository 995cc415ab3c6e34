"""``pytest --kebpf``: what is collected, what runs, how it is told; on a real kernel."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kebpf.recording.model import Endpoint
from kebpf.recording.store import TestSetWriter
from tests.e2e.ordinary import find_ordinary_user, give, open_folder
from tests.fix_postgres import find_free_port
from tests.kernel.rootless_runs import skip_unless_reachable
from tests.pytest_plugin.runs import PytestRun, install, run_pytest
from tests.recording.builders import make_manifest
from tests.replay.sets import make_case

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(200)]
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a run needs root")

SERVICE = """
import os, pathlib, socket, sys, urllib.request
pathlib.Path(os.environ["STARTED"], str(os.getpid())).touch()
if "NOISY" in os.environ:
    try:
        urllib.request.urlopen("http://10.99.0.9/hello").read()
    except OSError:
        pass
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    with server.accept()[0] as there:
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            head += there.recv(1000)
        path = head.split()[1].decode()
        if path == os.environ.get("DEADLY"):
            print("that was too much", flush=True)
            os._exit(3)
        body = b"wrong" if path == os.environ.get("WRONG") else path.encode()
        there.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
"""
PATHS = ("/a", "/b", "/c", "/d")


@dataclass(frozen=True)
class Stand:
    folder: Path
    command: str
    user: str | None = None

    @property
    def starts(self) -> int:
        """How often the service was started."""
        return len(list((self.folder / "started").iterdir()))

    def run(self, *words: str, **environment: str) -> PytestRun:
        environment["STARTED"] = str(self.folder / "started")
        given = ["--kebpf", "kebpf/site", "--kebpf-command", self.command, *words]
        return run_pytest(self.folder, *given, environment=environment, user=self.user)


def make_set(folder: Path, port: int) -> None:
    writer = TestSetWriter(folder)
    manifest = make_manifest()
    manifest.ports = [port]
    for number, path in enumerate(PATHS, 1):
        request = f"GET {path} HTTP/1.1\r\nHost: site\r\n\r\n"
        response = f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        name = f"get-{path[1:]}"
        writer.add_case(
            make_case(
                name,
                request.encode(),
                response.encode(),
                order=number,
                endpoint=Endpoint("tcp", "127.0.0.1", port),
            )
        )
    writer.commit(manifest)


def set_apart(folder: Path, name: str) -> None:
    """As ``kebpf verify`` does it."""
    (folder / "set-apart").mkdir()
    path = folder / "tests" / f"{name}.yaml"
    text = path.read_text() + "set_apart: differs from run to run\n"
    (folder / "set-apart" / path.name).write_text(text)
    path.unlink()
    manifest = folder / "test-set.yaml"
    text = manifest.read_text().replace(
        f"test_cases: {len(PATHS)}", f"test_cases: {len(PATHS) - 1}"
    )
    manifest.write_text(f"{text}set_apart:\n  {name}: differs from run to run\n")


def make_stand(folder: Path, user: str | None = None) -> Stand:
    (folder / "service.py").write_text(SERVICE)
    (folder / "started").mkdir()
    port = find_free_port()
    make_set(folder / "kebpf" / "site", port)
    command = shlex.join([sys.executable, str(folder / "service.py"), str(port)])
    return Stand(folder, command, user)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return make_stand(tmp_path)


@pytest.fixture
def users_stand() -> Iterator[Stand]:
    """An ordinary user's."""
    skip_unless_reachable()
    with open_folder() as folder:
        found = make_stand(folder, find_ordinary_user())
        (folder / "pytest.ini").touch()
        install(folder / "installed")
        give(folder, find_ordinary_user())
        yield found


ALL_PASSED = {"get-a": ["PASSED"], "get-b": ["PASSED"], "get-c": ["PASSED"], "get-d": ["PASSED"]}


def test_collecting_starts_nothing(stand: Stand) -> None:
    done = stand.run("--collect-only", "-qq")
    ids = [line for line in done.output.splitlines() if "::" in line]
    assert ids == [f"kebpf/site/test-set.yaml::get-{path[1:]}" for path in PATHS]
    assert stand.starts == 0


@NEEDS_ROOT
class TestRuns:
    def test_the_application_is_started_once(self, stand: Stand) -> None:
        (stand.folder / "test_own.py").write_text("def test_own(): pass\n")
        done = stand.run()
        assert (done.status, done.outcomes) == (0, ALL_PASSED), done.output + done.said
        assert stand.starts == 1

    def test_a_failure_is_told_as_kebpf_tells_it(self, stand: Stand) -> None:
        done = stand.run(WRONG="/b")
        assert done.status == 1
        assert done.outcomes == {**ALL_PASSED, "get-b": ["FAILED"]}
        told = done.explain("get-b") or done.output
        assert "wrong" in told and "curl" in told and "repeat:" in told
        assert "Traceback" not in done.output

    def test_some_of_them(self, stand: Stand) -> None:
        assert list(stand.run("-k", "get-b or get-d").outcomes) == ["get-b", "get-d"]
        by_id = stand.run("kebpf/site/test-set.yaml::get-c")
        assert by_id.outcomes == {"get-c": ["PASSED"]}
        first = stand.run("-x", WRONG="/b")
        assert first.outcomes == {"get-a": ["PASSED"], "get-b": ["FAILED"]}

    def test_the_last_failed(self, stand: Stand) -> None:
        cached = ("-p", "cacheprovider")
        assert stand.run(*cached, WRONG="/b").status == 1
        assert stand.run(*cached, "--lf").outcomes == {"get-b": ["PASSED"]}

    def test_an_application_that_does_not_start(self, stand: Stand) -> None:
        done = stand.run("--kebpf-command", "echo no such luck; exit 7")
        assert done.status == 1
        assert set(map(tuple, done.outcomes.values())) == {("ERROR",)}
        assert len(done.outcomes) == 4
        assert "exited with status 7" in done.output and "no such luck" in done.output
        assert "Error: " not in done.output and "kebpf/pytest_plugin" not in done.output

    def test_one_that_dies_on_the_way(self, stand: Stand) -> None:
        done = stand.run(DEADLY="/b")
        assert done.status == 1
        assert done.outcomes["get-a"] == ["PASSED"]
        assert done.outcomes["get-b"] == ["FAILED"]
        for name in ("get-c", "get-d"):  # skipped as soon as it is seen to have ended
            assert done.outcomes[name] in (["FAILED"], ["SKIPPED"])
        assert done.outcomes["the run"] == ["FAILED"]
        assert "that was too much" in done.output

    def test_calls_of_no_case_fail_at_the_end(self, stand: Stand) -> None:
        done = stand.run(NOISY="1")
        assert done.outcomes == {**ALL_PASSED, "calls of no case": ["FAILED"]}
        assert "10.99.0.9:80" in done.output
        assert done.status == 1

    def test_a_case_set_apart_is_skipped_and_why(self, stand: Stand) -> None:
        set_apart(stand.folder / "kebpf" / "site", "get-b")
        done = stand.run("-rs")
        assert done.outcomes == {**ALL_PASSED, "get-b": ["SKIPPED"]}
        assert "set apart: differs from run to run" in done.output

    @pytest.mark.parametrize("bad", [{}, {"WRONG": "/b"}, {"NOISY": "1"}, {"DEADLY": "/d"}])
    def test_workers_say_the_same(self, stand: Stand, bad: dict[str, str]) -> None:
        alone = stand.run(**bad)
        starts = stand.starts
        together = stand.run("-n", "2", **bad)
        assert together.outcomes == alone.outcomes, together.output + together.said
        assert together.status == alone.status
        assert stand.starts == starts + 2


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("words", "bad", "wanted"),
    [
        ((), {}, ALL_PASSED),
        (
            ("-n", "2"),
            {"WRONG": "/b", "NOISY": "1"},
            {**ALL_PASSED, "get-b": ["FAILED"], "calls of no case": ["FAILED"]},
        ),
    ],
    ids=["alone and good", "workers and bad"],
)
def test_an_ordinary_user_gets_the_same(
    users_stand: Stand, words: tuple[str, ...], bad: dict[str, str], wanted: dict[str, list[str]]
) -> None:
    done = users_stand.run("--kebpf-rootless", *words, **bad)
    assert done.outcomes == wanted, done.output + done.said
    assert done.status == (1 if bad else 0)
    starts = list((users_stand.folder / "started").iterdir())
    assert len(starts) == (2 if words else 1)
    assert {path.owner() for path in starts} == {users_stand.user}


@NEEDS_ROOT
def test_an_ordinary_user_is_told_of_the_form_that_works(users_stand: Stand) -> None:
    done = users_stand.run()
    assert done.status == 1
    assert set(map(tuple, done.outcomes.values())) == {("ERROR",)}
    assert "(run as root, or with --kebpf-rootless; " in done.output, done.output


def test_what_cannot_be(stand: Stand) -> None:
    done = run_pytest(stand.folder, "--kebpf", "kebpf/site")
    assert done.status == 4 and "how to start the application was not said" in done.said
    done = run_pytest(stand.folder, "--kebpf", "nowhere", "--kebpf-command", "true")
    assert done.status == 4 and "there is no test set 'nowhere'" in done.said
    (stand.folder / "kebpf" / "site" / "tests" / "get-a.yaml").unlink()
    done = stand.run()
    assert done.status == 2 and "is not whole" in done.output
