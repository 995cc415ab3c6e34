"""``kebpf record`` as people run it: what it refuses, how it ends, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from kebpf.capture.eventlog import EventLog
from kebpf.cli.main import main
from kebpf.cli.record import make_name
from kebpf.kernel.processes import is_running
from kebpf.kernel.programs import find_interpreter
from kebpf.recording.store import TestSet
from tests.capture.peers import stream_peer
from tests.capture.test_target import find_kernel_thread, make_gone
from tests.kernel.test_processes import hold
from tests.kernel.test_programs import PYPI_BCC, make_interpreter
from tests.recording.running import SERVICE, Service, answer_gets, run_service

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
KEBPF = (sys.executable, "-m", "kebpf.cli.main")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
NOBODY = 65534


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder to record into, and this process's signal handlers as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.chdir(tmp_path)
    find_interpreter.cache_clear()
    yield
    find_interpreter.cache_clear()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def assert_sentence(text: str, said: str) -> None:
    """One line on what is wrong, at most one more on what to do."""
    lines = text.strip().splitlines()
    assert said in text
    assert lines[0].startswith("kebpf: ")
    assert len(lines) <= 2
    assert "Traceback" not in text


def assert_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    """Within this process; nothing new is in the folder afterwards."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["record", *arguments]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert_sentence(output.err, said)
    assert sorted(Path.cwd().rglob("*")) == before


class TestRefused:
    """Bad input and a bad environment: a sentence, an exit status, nothing left behind."""

    def test_no_such_process(self, capsys: pytest.CaptureFixture[str]) -> None:
        gone = make_gone()
        assert_refused(capsys, ["--pid", str(gone)], 3, f"there is no process {gone}")

    def test_a_kernel_thread(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert_refused(capsys, ["--pid", str(find_kernel_thread())], 2, "is a kernel thread")

    def test_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert_refused(capsys, ["--pid", str(os.getpid())], 2, "is this kebpf itself")

    def test_one_of_several(self, capsys: pytest.CaptureFixture[str]) -> None:
        gone = make_gone()
        with hold() as process:
            arguments = ["--pid", str(process.pid), "--pid", str(gone)]
            assert_refused(capsys, arguments, 3, f"there is no process {gone}")

    def test_gone_before_the_probes_are_in_place(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is ended when they are being compiled."""
        with hold() as process:
            script = tmp_path / "python"
            script.write_text(f'#!/bin/sh\nkill -9 {process.pid}\nexec /usr/bin/python3 "$@"\n')
            script.chmod(0o755)
            monkeypatch.setenv("KEBPF_BCC_PYTHON", str(script))
            said = f"process {process.pid} ended before the recording began"
            assert_refused(capsys, ["--pid", str(process.pid)], 3, said)

    @pytest.mark.parametrize("name", ["../up", "a/b", ".hidden"])
    def test_a_name_that_is_a_path(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        with hold() as process:
            arguments = ["--pid", str(process.pid), "--name", name]
            assert_refused(capsys, arguments, 2, "is no name of a test set")

    def test_the_test_set_exists(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("sets/mine").mkdir(parents=True)
        with hold() as process:
            arguments = ["--pid", str(process.pid), "-o", "sets", "--name", "mine"]
            assert_refused(capsys, arguments, 3, "sets/mine already exists; choose another name")

    @pytest.mark.parametrize(
        ("folder", "said"),
        [("file", "cannot be written: Not a directory"), ("/proc/kebpf", "cannot be written")],
    )
    def test_a_folder_that_cannot_be_written(
        self, capsys: pytest.CaptureFixture[str], folder: str, said: str
    ) -> None:
        Path("file").touch()
        with hold() as process:
            arguments = ["--pid", str(process.pid), "-o", folder, "--name", "mine"]
            assert_refused(capsys, arguments, 3, said)

    @pytest.mark.parametrize(
        ("path", "said"), [("there", "File exists"), ("nowhere/log", "No such file or directory")]
    )
    def test_a_log_that_cannot_be_written(
        self, capsys: pytest.CaptureFixture[str], path: str, said: str
    ) -> None:
        Path("there").write_text("mine")
        with hold() as process:
            arguments = ["--pid", str(process.pid), "--keep-events", path]
            assert_refused(capsys, arguments, 3, f"{path} cannot be written: {said}")
        assert Path("there").read_text() == "mine"

    @pytest.mark.parametrize("module", [None, PYPI_BCC], ids=["no bcc", "the other bcc"])
    def test_without_bcc(
        self,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        module: str | None,
    ) -> None:
        monkeypatch.setenv("KEBPF_BCC_PYTHON", str(make_interpreter(tmp_path, module)))
        with hold() as process:
            arguments = ["--pid", str(process.pid)]
            assert_refused(capsys, arguments, 3, "apt-get install python3-bpfcc")

    def test_a_command_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["record", "--json", "--", "/no/such/program"]) == 3
        output = capsys.readouterr()
        assert output.out == ""
        error = output.err[output.err.index("kebpf: ") :]
        assert_sentence(error, "the command /no/such/program was not found")
        assert list(Path.cwd().iterdir()) == []

    def test_a_user_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert_refused(capsys, ["--user", "no-such-user", "--", "true"], 3, "no-such-user")

    @pytest.mark.parametrize(
        ("prefix", "said"),
        [
            (f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups", "recording needs root"),
            ("setpriv --bounding-set=-sys_admin,-bpf,-perfmon", "the kernel did not take"),
            ("unshare --mount", "this kernel has no BTF type information"),
        ],
        ids=["user", "capabilities", "btf"],
    )
    def test_a_poor_environment(self, prefix: str, said: str) -> None:
        hiding = "mount -t tmpfs none /sys/kernel/btf && " if "unshare" in prefix else ""
        with hold() as process:
            command = f'cd / && {hiding}exec "$0" "$@" record --pid {process.pid} -o /tmp/none'
            done = subprocess.run(
                [*prefix.split(), "/bin/sh", "-c", command, *KEBPF],
                capture_output=True,
                text=True,
                env=ENVIRONMENT,
            )
        assert done.returncode == 3
        assert done.stdout == ""
        assert_sentence(done.stderr, said)
        assert not Path("/tmp/none").exists()


@dataclass(slots=True)
class Running:
    """A ``kebpf record`` that is capturing."""

    process: subprocess.Popen[str]
    messages: list[str]

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Its exit status, standard output and standard error."""
        if number is not None:
            self.process.send_signal(number)
        output, messages = self.process.communicate(timeout=30)
        return self.process.returncode, output, "".join(self.messages) + messages

    def read_line(self) -> str:
        """The next line of its standard output."""
        return _reading(self.process.stdout).readline()


def _reading(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@contextmanager
def run_kebpf(*arguments: object, **variables: str) -> Iterator[Running]:
    """Waits until it says that it records."""
    process = subprocess.Popen(
        [*KEBPF, "record", "--json", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **variables},
    )
    running = Running(process, [])
    try:
        while not running.messages or "Ctrl-C ends it" not in running.messages[-1]:
            line = _reading(process.stderr).readline()
            assert line, "it ended before it recorded"
            running.messages.append(line)
        yield running
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with run_service() as made:
        yield made


def read_summary(output: str) -> Any:
    """The last line, one JSON object."""
    return json.loads(output.splitlines()[-1])


def names_of(folder: str) -> list[str]:
    return [case.request["target"] for case in TestSet.open(Path(folder)).cases()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_well(service: Service, number: signal.Signals) -> None:
    with run_kebpf("--pid", service.pid, "--name", "mine") as running:
        service.get("apple")
        status, output, messages = running.end(number)
    assert status == 0
    assert "Traceback" not in messages
    summary = json.loads(output)
    assert summary["test_cases"] == summary["mocks"] == 1
    assert summary["lost_events"] == summary["lost_bytes"] == summary["unparsed_connections"] == 0
    assert summary["path"] == "kebpf/mine"
    assert names_of("kebpf/mine") == ["/apple"]
    assert service.get("still") == {"name": "still", "value": "stillstill"}


def test_its_duration_ends_it(service: Service) -> None:
    with run_kebpf("--pid", service.pid, "--name", "mine", "--duration", "0.3") as running:
        status, output, _ = running.end()
    assert (status, read_summary(output)["test_cases"]) == (0, 0)
    assert names_of("kebpf/mine") == []


def test_the_target_s_end_ends_it() -> None:
    with run_service() as service, run_kebpf("--pid", service.pid, "--name", "mine") as running:
        service.get("apple")
        service.process.kill()
        status, output, _ = running.end()
    assert (status, read_summary(output)["test_cases"]) == (0, 1)
    assert names_of("kebpf/mine") == ["/apple"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_records_leaves_nothing(
    tmp_path: Path, service: Service, number: signal.Signals
) -> None:
    """It comes while the programs are being compiled."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nkill -{number.name[3:]} $PPID\nexec /usr/bin/python3 "$@"\n')
    script.chmod(0o755)
    done = subprocess.run(
        [*KEBPF, "record", "--pid", str(service.pid), "--keep-events", "log"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "KEBPF_BCC_PYTHON": str(script)},
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [script]


def test_what_is_kept_belongs_to_who_called_sudo(service: Service) -> None:
    arguments = ("--pid", service.pid, "--name", "mine", "--keep-events", "log")
    with run_kebpf(*arguments, SUDO_UID=str(NOBODY), SUDO_GID=str(NOBODY)) as running:
        service.get("apple")
        assert running.end(signal.SIGINT)[0] == 0
    made = [Path("kebpf"), *Path("kebpf").rglob("*"), Path("log")]
    assert {path.stat().st_uid for path in made} == {NOBODY}
    assert len(made) == 7
    assert {path.stat().st_mode & 0o077 for path in made} == {0}
    log = EventLog(Path("log"))
    assert log.head.pids == [service.pid]
    assert len(list(log.events())) > 4


@contextmanager
def small_disk() -> Iterator[Path]:
    """256 KiB at ``disk`` in the current folder."""
    disk = Path("disk").absolute()
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    """To the last byte."""
    with pytest.raises(OSError, match="No space left"), (disk / "filling").open("wb", 0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("arguments", [("-o", "disk"), ("--keep-events", "disk/log")])
def test_a_disk_that_fills_up(service: Service, arguments: tuple[str, str]) -> None:
    with small_disk() as disk:
        options = ("--pid", service.pid, "--name", "mine", "--duration", "1")
        with run_kebpf(*options, *arguments) as running:
            fill(disk)
            for number in range(30):
                service.get(f"apple-{number}" + "x" * 300)
            status, output, messages = running.end()
        assert (status, output) == (3, "")
        last = messages[messages.index("kebpf: ") :]
        assert_sentence(last, "disk is full" if "-o" in arguments else "No space left on device")
        assert [path.name for path in disk.iterdir()] == ["filling"]
        assert not Path("kebpf").exists()


def test_a_disk_that_is_full(capsys: pytest.CaptureFixture[str], service: Service) -> None:
    with small_disk() as disk:
        fill(disk)
        arguments = ["--pid", str(service.pid), "--duration", "0.1", "-o", "disk"]
        assert main(["record", *arguments]) == 3
        error = capsys.readouterr().err
        assert_sentence(error[error.index("kebpf: ") :], "the disk is full")
        assert [path.name for path in disk.iterdir()] == ["filling"]


def test_a_command_is_recorded_from_its_first_byte_and_ended() -> None:
    with stream_peer(answer_gets) as redis:
        command = (sys.executable, "-I", str(SERVICE), str(redis.port))
        with run_kebpf("--name", "mine", "--", *command) as running:
            started = Service(running.process, int(running.read_line()))
            started.get("apple")
            status, output, _ = running.end(signal.SIGTERM)
    assert status == 0
    summary = read_summary(output)
    assert (summary["test_cases"], summary["mocks"]) == (1, 1)
    manifest = TestSet.open(Path("kebpf/mine")).manifest
    assert manifest.command == list(command)
    assert manifest.ports == [started.port]
    assert manifest.losses.unparsed_connections == 0


def test_a_command_that_ends_by_itself_with_a_name_of_its_own() -> None:
    with run_kebpf("--", "/bin/sh", "-c", "echo said") as running:
        status, output, _ = running.end()
    assert status == 0
    assert output.splitlines()[0] == "said"
    assert read_summary(output)["path"] == "kebpf/echo-1"


def test_a_command_ends_with_what_it_left_behind() -> None:
    """A process that outlives its parent belongs to the target, and to what is ended."""
    with run_kebpf("--", "/bin/sh", "-c", "sleep 60 & echo $!") as running:
        child = int(running.read_line())
        assert is_running(child)
        status, _, _ = running.end(signal.SIGINT)
    assert status == 0
    assert not is_running(child)


def test_names_are_made_up_from_the_process(tmp_path: Path) -> None:
    assert make_name(tmp_path, "shop") == "shop-1"
    (tmp_path / "shop-1").mkdir()
    assert make_name(tmp_path, "shop") == "shop-2"
    assert make_name(tmp_path, "a/b c") == "a-b-c-1"
    assert make_name(tmp_path, ".x") == "x-1"
