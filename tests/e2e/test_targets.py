"""``kebpf record`` by control group, unit and container, of several processes, and with filters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.processes import Process
from kebpf.kernel.cgroup import make_cgroup
from kebpf.recording.store import TestSet
from tests.capture.groups import make_command
from tests.cli.recorders import (
    PATIENCE_SECONDS,
    SERVICE_COMMAND,
    assert_refused,
    end,
    fetch,
    recorder,
    run_kebpf,
    serving,
    wait_port,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="recording needs root"),
]

ID = "5e" * 32
UNIT = f"kebpf-test-{os.getpid()}"

# Listens at the first port; asks the second, if there is one, before it answers.
INSIDE = """
import http.server, sys, urllib.request
class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"here"
        if len(sys.argv) > 2:
            body = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/stock").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
print("port", server.server_port, flush=True)
server.serve_forever()
"""
NAMESPACES = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--net", "--mount"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A control group of this test's own; all that runs in it ends with it."""
    with make_cgroup() as made:
        yield made.path


@contextmanager
def running_in(group: Path, *command: str) -> Iterator[Process]:
    """A program that was in the group before it began."""
    enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command]
    process = Process("service", enter)
    try:
        yield process
    finally:
        process.stop(signal.SIGKILL)


def list_requests(path: Path) -> list[str]:
    """The targets of the recorded requests."""
    return sorted(case.request["target"] for case in TestSet.open(path).cases())


def show(path: Path) -> list[dict[str, object]]:
    """What `kebpf show --json` prints."""
    done = run_kebpf("show", "--json", str(path))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def fetch_inside(pid: int, port: int, path: str) -> bytes:
    """An answer to a GET sent from the network namespace of a process."""
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}{path}').read())"
    enter = ["nsenter", "--target", str(pid), "--net", sys.executable, "-I", "-c", code]
    done = subprocess.run(enter, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
    return done.stdout


def find_process(group: Path, text: str) -> int:
    """The one of a group whose command has ``text`` in it."""
    for word in (group / "cgroup.procs").read_text().split():
        command = Path("/proc", word, "cmdline").read_bytes().split(b"\0")
        if command[0] == sys.executable.encode() and text.encode() in command:
            return int(word)
    raise AssertionError(f"no process of {group} has {text} in its command")


@pytest.mark.parametrize("kind", ["container", "cgroup"])
def test_a_process_in_namespaces_of_its_own(folder: Path, tmp_path: Path, kind: str) -> None:
    group = folder / f"docker-{ID}.scope"
    group.mkdir()
    serve = 'ip link set lo up && exec "$@"'
    service = [sys.executable, "-I", "-c", INSIDE]
    inside = ["unshare", *NAMESPACES, "sh", "-c", serve, "sh", *service, "8080", "9000"]
    with running_in(group, *inside) as process:
        assert wait_port(process) == 8080
        pid = find_process(group, "8080")
        assert Path("/proc", str(pid), "ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
        stock = Process("stock", ["nsenter", "--target", str(pid), "--net", *service, "9000"])
        try:
            wait_port(stock)
            what = ("--container", ID[:12]) if kind == "container" else ("--cgroup", str(group))
            with recorder("-o", str(tmp_path), *what) as kebpf:
                assert fetch_inside(pid, 8080, "/price?of=tea") == b"b'here'\n"
                os.kill(pid, signal.SIGKILL)  # the recording ends with its last process
                assert kebpf.wait(PATIENCE_SECONDS) == 0
        finally:
            stock.stop(signal.SIGKILL)
    name = f"{ID[:12]}-1" if kind == "container" else f"docker-{ID}.scope-1"
    cases = show(tmp_path / name)
    assert [one["kind"] for one in cases] == ["test", "mock"]
    assert '"path": "/price", "query"' in json.dumps(cases[0])
    assert "127.0.0.1:9000" in json.dumps(cases[1])
    assert "/stock" in json.dumps(cases[1])
    assert TestSet.open(tmp_path / name).manifest.ports == [8080]


def test_a_unit_over_its_restart(folder: Path, tmp_path: Path) -> None:
    """Its group is removed and made again, as systemd does it."""
    group = folder / f"{UNIT}.service"
    group.mkdir()
    service = [sys.executable, "-I", "-c", INSIDE, "0"]
    with running_in(group, *service) as first:
        port = wait_port(first)
        with recorder("-o", str(tmp_path), "--unit", UNIT) as kebpf:
            assert f"recording unit {UNIT}.service, 1 process (" in kebpf.lines[-1]
            assert fetch(port, "first") == b"here"
            first.stop(signal.SIGKILL)
            group.rmdir()
            group.mkdir()
            with running_in(group, *service) as second:
                assert fetch(wait_port(second), "second") == b"here"
            assert end(kebpf) == 0
    assert list_requests(tmp_path / f"{UNIT}-1") == ["/first", "/second"]


def test_processes_that_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    with serving() as one, serving() as two, serving() as three:
        pids = ("--pid", str(one.pid), "--pid", str(two.pid))
        with recorder("-o", str(tmp_path), "--name", "both", *pids) as kebpf:
            assert f"recording pids {one.pid}, {two.pid} (" in kebpf.lines[-1]
            for number, service in enumerate((one, two, three)):
                service.fetch(f"echo/{number}")
            assert end(kebpf) == 0
    assert list_requests(tmp_path / "both") == ["/echo/0", "/echo/1"]


@pytest.mark.parametrize("door", ["a", "b"])
def test_connections_left_out_are_said(tmp_path: Path, door: str) -> None:
    with serving() as one, serving() as two:
        words = ("--pid", str(one.pid), "--pid", str(two.pid), "--door", door, "--json")
        filters = ("--port", str(one.port), "--inbound-only")
        with recorder("-o", str(tmp_path), "--name", "one", *words, *filters) as kebpf:
            for service in (one, two, two, one):
                service.fetch("echo/1")
            assert end(kebpf) == 0
    assert "2 connections left out by --port" in kebpf.lines
    summary = json.loads(kebpf.lines[-1])
    assert summary["left_out_connections"] == {"--port": 2}
    assert summary["lost_bytes"] == summary["unparsed_connections"] == 0
    assert summary["test_cases"] == 2
    assert any("captured 100 %" in line for line in kebpf.lines)


def test_a_program_is_called_by_its_script(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(INSIDE)
    service = Process("service", [sys.executable, str(script), "0"])
    try:
        wait_port(service)
        words = ("--pid", str(service.pid), "--duration", "0.1", "-o", str(tmp_path / "out"))
        assert run_kebpf("record", *words).returncode == 0
    finally:
        service.stop(signal.SIGKILL)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shop-1"]


class TestRefusals:
    def refuse(self, tmp_path: Path, status: int, words: list[str], *sentences: str) -> None:
        done = run_kebpf("record", "-o", str(tmp_path / "out"), *words)
        assert_refused(done, status, sentences[0], *sentences[1:])
        assert not (tmp_path / "out").exists()

    def test_a_group_that_does_not_exist(self, tmp_path: Path) -> None:
        for path in ("/sys/fs/cgroup/not-there", "not-there", "/tmp"):
            self.refuse(
                tmp_path, 3, ["--cgroup", path], f"there is no control group {path}", "systemd-cgls"
            )

    def test_a_group_without_processes(self, folder: Path, tmp_path: Path) -> None:
        words = ["--cgroup", folder.name]
        self.refuse(
            tmp_path, 3, words, f"no process that can be recorded is in control group {folder}"
        )

    def test_a_unit_where_there_is_no_systemd(self, tmp_path: Path) -> None:
        if Path("/run/systemd/system").is_dir():
            pytest.skip("systemd runs here")
        sentence = "no kebpf-not-there.service runs here, and systemd does not answer"
        self.refuse(tmp_path, 3, ["--unit", "kebpf-not-there"], sentence, "--cgroup")

    def test_a_unit_that_systemd_does_not_know(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_command(tmp_path / "bin", "systemctl", "LoadState=not-found\nActiveState=inactive\n")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        self.refuse(
            tmp_path, 3, ["--unit", "shop"], "there is no unit shop.service: find the right"
        )

    def test_what_is_no_unit_with_processes(self, tmp_path: Path) -> None:
        words = ["--unit", "shop.socket"]
        self.refuse(tmp_path, 2, words, "shop.socket has no processes of its own")

    def test_a_container_that_is_not_there(self, tmp_path: Path) -> None:
        words = ["--container", "0" * 12]
        self.refuse(tmp_path, 3, words, "no running container is called 000000000000", "--cgroup")

    def test_a_beginning_of_two_containers(self, folder: Path, tmp_path: Path) -> None:
        ids = [f"5e5e{number}" + ID[5:] for number in (1, 2)]
        groups = [folder / f"libpod-{one}.scope" for one in ids]
        for group in groups:
            group.mkdir()
        with running_in(groups[0], "sleep", "60"), running_in(groups[1], *SERVICE_COMMAND) as last:
            wait_port(last)
            words = ["--container", "5e5e"]
            self.refuse(tmp_path, 2, words, "2 containers begin with 5e5e", *ids)
