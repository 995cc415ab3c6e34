"""``kebpf record`` as a person runs it: what it refuses, how it ends, what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.processes import Process
from examples.recorder import find_kebpf, with_sources
from kebpf.recording.store import TestSet
from tests.cli.recorders import (
    NOBODY,
    PATIENCE_SECONDS,
    SERVICE_COMMAND,
    Service,
    assert_refused,
    end,
    fetch,
    in_shell,
    list_left,
    make_venv,
    recorder,
    run_kebpf,
    serving,
    tiny_disk,
    wait_port,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="recording needs root"),
]

KEEP = ("--no-redact", "--keep-events")
KTHREADD = "2"
SUMMARY_KEYS = {
    "test_cases",
    "mocks",
    "events",
    "bytes",
    "lost_events",
    "lost_bytes",
    "unparsed_connections",
    "seconds",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as running:
        yield running


def count_cases(path: Path) -> int:
    """The test cases of a set, which must be whole."""
    return len(TestSet.open(path).cases())


def last_line(process: Process) -> str:
    return process.lines[-1]


class TestRefusals:
    def refuse(self, tmp_path: Path, status: int, sentence: str, *words: str) -> None:
        done = run_kebpf("record", "-o", str(tmp_path / "out"), *words)
        assert_refused(done, status, sentence)
        assert list_left(tmp_path) == []

    def test_a_process_that_does_not_exist(self, tmp_path: Path) -> None:
        beyond = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
        self.refuse(tmp_path, 3, f"there is no process {beyond}: find", "--pid", str(beyond))

    def test_a_process_that_has_ended_and_is_not_reaped(self, tmp_path: Path) -> None:
        with subprocess.Popen(["true"]) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self.refuse(tmp_path, 3, "(true) has ended already", "--pid", str(process.pid))

    def test_a_process_that_ends_while_the_probes_are_loaded(self, tmp_path: Path) -> None:
        with subprocess.Popen(["sleep", "600"]) as target:
            loader = tmp_path / "python"  # it kills the target, then does as it was told
            loader.write_text(f'#!/bin/sh\nkill -9 {target.pid}\nexec /usr/bin/python3 "$@"\n')
            loader.chmod(0o755)
            done = run_kebpf(
                *("record", "-o", str(tmp_path / "out"), "--pid", str(target.pid)),
                environment={"KEBPF_BCC_PYTHON": str(loader)},
            )
        assert_refused(done, 3, f"process {target.pid} ended before the recording began")
        assert list_left(tmp_path / "out") == []

    def test_a_kernel_thread(self, tmp_path: Path) -> None:
        self.refuse(tmp_path, 2, "is a kernel thread: only programs", "--pid", KTHREADD)

    def test_kebpf_itself_by_its_sudo(self, tmp_path: Path) -> None:
        sudo = tmp_path / "sudo"
        sudo.write_text('#!/bin/sh\n"$@" --pid $$\nexit $?\n')
        sudo.chmod(0o755)
        done = run_kebpf("record", "-o", str(tmp_path / "out"), prefix=[str(sudo)])
        assert_refused(done, 2, "is this kebpf itself: give the process id of the service")
        assert not (tmp_path / "out").exists()

    def test_kebpf_itself_by_its_own_number(self, tmp_path: Path) -> None:
        itself = ["sh", "-c", 'exec "$@" --pid $$', "sh"]
        done = run_kebpf("record", "-o", str(tmp_path / "out"), prefix=itself)
        assert_refused(done, 2, "is this kebpf itself: give the process id of the service")

    def test_another_kebpf_is_a_program_like_any(self, service: Service, tmp_path: Path) -> None:
        with recorder("-o", str(tmp_path), "--pid", str(service.pid)) as other:
            words = ("--pid", str(other.pid), "--name", "two", "--duration", "0.1")
            done = run_kebpf("record", "-o", str(tmp_path), *words)
            assert done.returncode == 0, done.stderr
            assert end(other) == 0
        assert count_cases(tmp_path / "two") == 0

    def test_no_root(self, service: Service, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        nobody = ["setpriv", "--reuid", str(NOBODY), "--clear-groups"]
        words = ("record", "-o", str(tmp_path / "out"), "--pid", str(service.pid))
        done = run_kebpf(*words, prefix=nobody, folder=Path("/"))
        assert_refused(done, 3, "recording needs root", "run it with sudo")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("setup", "sentence"),
        [
            ("mount -t tmpfs none /sys/kernel/btf", "this kernel has no BTF type information"),
            ("mount --bind /dev/null /sys/kernel/btf/vmlinux", "type information is not BTF"),
        ],
    )
    def test_no_btf(self, setup: str, sentence: str, service: Service, tmp_path: Path) -> None:
        words = ("record", "-o", str(tmp_path / "out"), "--pid", str(service.pid))
        done = run_kebpf(*words, prefix=in_shell(setup))
        assert_refused(done, 3, sentence)
        assert list_left(tmp_path) == []

    @pytest.mark.parametrize("wrong", [False, True])
    def test_no_bcc_or_the_wrong_one(self, wrong: bool, service: Service, tmp_path: Path) -> None:
        done = run_kebpf(
            *("record", "-o", str(tmp_path / "out"), "--pid", str(service.pid)),
            environment={"KEBPF_BCC_PYTHON": make_venv(tmp_path / "venv", wrong)},
        )
        reason = "cannot import name 'BPF' from 'bcc'" if wrong else "No module named 'bcc'"
        assert_refused(done, 3, "bcc is not to be had", reason, "python3-bpfcc", "another project")
        assert list_left(tmp_path / "out") == []

    @pytest.mark.parametrize("words", [["--pid", "1"], ["--", "sleep", "600"]])
    def test_process_ids_that_are_not_the_hosts(self, words: list[str], tmp_path: Path) -> None:
        inside = ["unshare", "--pid", "--fork", "--mount-proc"]
        done = run_kebpf("record", "-o", str(tmp_path / "out"), *words, prefix=inside)
        assert_refused(done, 3, "process ids here are not those of the host", "--pid=host")
        assert not (tmp_path / "out").exists()

    def test_a_user_that_is_not_there(self, tmp_path: Path) -> None:
        words = ("--user", "nobody-by-that-name", "--", "true")
        self.refuse(tmp_path, 3, "no user called nobody-by-that-name", *words)

    def test_a_name_that_is_none(self, service: Service, tmp_path: Path) -> None:
        words = ("--pid", str(service.pid), "--name", "../up")
        self.refuse(tmp_path, 2, "is no name of a test set", *words)


class TestOutput:
    def test_a_test_set_that_is_there_is_left_alone(self, service: Service, tmp_path: Path) -> None:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "mine").write_text("precious")
        words = ("record", "-o", str(tmp_path), "--name", "shop", "--pid", str(service.pid))
        assert_refused(run_kebpf(*words), 3, f"{tmp_path / 'shop'} already exists; choose another")
        assert list_left(tmp_path) == ["shop/mine"]

    @pytest.mark.parametrize(
        ("where", "reason"),
        [
            ("file", "Not a directory"),
            ("read-only", "Read-only file system"),
            ("x" * 300, "File name too long"),
        ],
    )
    def test_a_folder_that_cannot_be_written(
        self, where: str, reason: str, service: Service, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "read-only").mkdir()
        words = ("record", "-o", str(tmp_path / where), "--pid", str(service.pid))
        mount = f"mount -t tmpfs -o ro none {tmp_path / 'read-only'}"
        done = run_kebpf(*words, prefix=in_shell(mount))
        assert_refused(done, 3, "cannot be written", reason)
        assert list_left(tmp_path) == ["file"]

    @pytest.mark.parametrize("what", ["test set", "event log"])
    def test_a_full_disk(self, what: str, service: Service, tmp_path: Path) -> None:
        with tiny_disk(tmp_path / "disk", "128k") as disk:
            out = disk if what == "test set" else tmp_path / "out"
            words = ["-o", str(out), "--name", "full", "--pid", str(service.pid)]
            if what == "event log":
                words += [*KEEP, str(disk / "events")]
            with recorder(*words) as recording:
                for _ in range(3):
                    service.fetch("bytes/200000")
                if what == "test set":
                    os.kill(recording.pid, signal.SIGINT)  # else the disk ends it
                assert recording.wait(PATIENCE_SECONDS) == 3
                error = [line for line in recording.lines if line.startswith("kebpf: ")]
                assert len(recording.lines) == 2, recording.tail()
            assert re.search("the disk is full|No space left on device", error[0])
            assert list_left(disk) == []
        assert list_left(tmp_path) == []
        assert service.fetch("word/alive") == b"alive"

    def test_the_event_log_is_private_and_never_overwrites(
        self, service: Service, tmp_path: Path
    ) -> None:
        log = tmp_path / "events"
        words = ("-o", str(tmp_path), "--pid", str(service.pid), *KEEP, str(log))
        with recorder(*words) as recording:
            service.fetch("word/secret")
            assert end(recording) == 0
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        before = log.read_bytes()
        assert b"/word/secret" in before
        done = run_kebpf("record", *words, "--name", "again")
        assert_refused(done, 3, f"{log} cannot be written: File exists")
        assert log.read_bytes() == before
        assert not (tmp_path / "again").exists()

    def test_under_sudo_all_of_it_belongs_to_the_caller(
        self, service: Service, tmp_path: Path
    ) -> None:
        out = tmp_path / "new" / "recordings"
        log = tmp_path / "events"
        words = ("-o", str(out), "--pid", str(service.pid), *KEEP, str(log))
        sudo = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
        with recorder(*words, environment=sudo) as recording:
            service.fetch("word/mine")
            assert end(recording) == 0
        made = [path for path in tmp_path.rglob("*") if path != tmp_path]
        assert log in made
        assert any(path.suffix == ".yaml" and path.parent.name == "tests" for path in made)
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}
        assert {stat.S_IMODE(p.stat().st_mode) for p in made if p.is_file()} == {0o600}
        assert {stat.S_IMODE(p.stat().st_mode) for p in made if p.is_dir()} == {0o700}

    def test_json_is_one_object_though_the_command_prints(self, tmp_path: Path) -> None:
        chatty = ["sh", "-c", 'echo "not json"; exec "$@"', "sh", *SERVICE_COMMAND]
        words = [*find_kebpf(), "record", "-o", str(tmp_path), "--json", "--", *chatty]
        with subprocess.Popen(
            words,
            env={**os.environ, **with_sources({})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            port = next(line for line in process.stderr if line.startswith("port ")).split()[1]
            fetch(int(port), "word/one")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        summary = json.loads(out)
        assert summary.keys() >= SUMMARY_KEYS
        assert (summary["test_cases"], summary["lost_bytes"], summary["lost_events"]) == (1, 0, 0)
        assert summary["unparsed_connections"] == 0
        assert count_cases(Path(summary["path"])) == 1


def by_interrupt(recording: Process, _service: Process) -> None:
    os.kill(recording.pid, signal.SIGINT)


def by_terminate(recording: Process, _service: Process) -> None:
    os.kill(recording.pid, signal.SIGTERM)


def by_hangup(recording: Process, _service: Process) -> None:
    os.kill(recording.pid, signal.SIGHUP)


def by_the_targets_end(_recording: Process, service: Process) -> None:
    os.kill(service.pid, signal.SIGKILL)


def by_impatience(recording: Process, _service: Process) -> None:
    """Ctrl-C again and again until it is gone."""
    while recording.exit_status is None:
        os.kill(recording.pid, signal.SIGINT)
        os.sched_yield()


class TestEndings:
    @pytest.mark.parametrize(
        "ending", [by_interrupt, by_terminate, by_hangup, by_the_targets_end, by_impatience]
    )
    def test_each_leaves_a_whole_set(
        self, ending: Callable[[Process, Process], None], tmp_path: Path
    ) -> None:
        target = Process("service", SERVICE_COMMAND)
        try:
            port = wait_port(target)
            words = ("-o", str(tmp_path), "--name", "set", "--pid", str(target.pid))
            with recorder(*words) as recording:
                for number in range(3):
                    fetch(port, f"word/{number}")
                ending(recording, target)
                assert recording.wait(PATIENCE_SECONDS) == 0
        finally:
            target.stop(signal.SIGKILL)
        notes = list(recording.lines)[2:]
        ended = f"note: process {target.pid} ended, and the recording with it"
        assert notes == ([ended] if ending is by_the_targets_end else [])
        assert recording.lines[1].startswith("3 test cases, 0 mocks from 3 requests in ")
        assert "captured 100 % of" in recording.lines[1]
        assert count_cases(tmp_path / "set") == 3
        assert [path.name for path in tmp_path.iterdir()] == ["set"]

    def test_the_duration(self, service: Service, tmp_path: Path) -> None:
        words = ("record", "-o", str(tmp_path), "--pid", str(service.pid), "--duration", "0.3")
        done = run_kebpf(*words)
        assert (done.returncode, done.stderr) == (0, "")
        opening, summary, hint = done.stdout.splitlines()
        assert opening.startswith(f"recording pid {service.pid} (")
        assert opening.endswith("; it ends after 0.3 s, or with Ctrl-C")
        assert hint.startswith("nothing crossed its sockets meanwhile")
        begun, _, _ = summary.partition(" s → ")
        assert begun.startswith("0 test cases, 0 mocks from 0 requests in ")
        assert float(begun.split()[-1]) >= 0.3
        [folder] = tmp_path.iterdir()
        assert count_cases(folder) == 0

    def test_an_interrupt_before_it_began_leaves_nothing(
        self, service: Service, tmp_path: Path
    ) -> None:
        waiting, go_on = tmp_path / "waiting", tmp_path / "go-on"
        os.mkfifo(waiting)
        os.mkfifo(go_on)
        loader = tmp_path / "python"
        loader.write_text(
            f"#!/bin/sh\ntrap '' INT\necho > {waiting}\ncat {go_on}\nexec /usr/bin/python3 \"$@\"\n"
        )
        loader.chmod(0o755)
        process = Process(
            "kebpf record",
            [*find_kebpf(), "record", "-o", str(tmp_path / "out"), "--pid", str(service.pid)],
            environment=with_sources({"KEBPF_BCC_PYTHON": str(loader)}),
        )
        try:
            waiting.read_text()
            os.kill(process.pid, signal.SIGINT)
            go_on.write_text("")
            assert process.wait(PATIENCE_SECONDS) == 130
        finally:
            process.stop(signal.SIGKILL)
        assert "Traceback" not in process.tail()
        assert list_left(tmp_path / "out") == []


class TestCommand:
    def test_the_first_request_is_recorded_and_an_interrupt_ends_it_too(
        self, tmp_path: Path
    ) -> None:
        words = ("-o", str(tmp_path), "--name", "set")
        with recorder(*words, command=SERVICE_COMMAND) as recording:
            pid = int(recording.lines[0].split()[2])
            fetch(wait_port(recording), "word/first")
            assert end(recording) == 0
        assert last_line(recording).startswith("1 test case, 0 mocks from 1 request in ")
        assert last_line(recording).endswith("on 1 connection"), "the launcher's own is none"
        assert not Path(f"/proc/{pid}").exists()
        [case] = TestSet.open(tmp_path / "set").cases()
        assert case.request["target"] == "/word/first"

    @pytest.mark.parametrize(("status", "note"), [(0, ""), (5, "the command exited with status 5")])
    def test_its_own_end_ends_the_recording(self, status: int, note: str, tmp_path: Path) -> None:
        words = ("-o", str(tmp_path), "--name", "set")
        with recorder(*words, command=SERVICE_COMMAND) as recording:
            fetch(wait_port(recording), f"end/{status}")
            assert recording.wait(PATIENCE_SECONDS) == 0
        assert any(line.startswith("1 test case, ") for line in recording.lines)
        assert [line for line in recording.lines if line.startswith("note: ")] == (
            [f"note: {note}"] if note else []
        )
        assert count_cases(tmp_path / "set") == 1

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (["/no/such"], "the command /no/such was not found"),
            (["/etc/passwd"], "the command /etc/passwd is not executable for root"),
            (["false"], "the command exited with status 1 before there was anything to record"),
            (["true"], "anything to record (it must stay in the foreground)"),
            (["sh", "-c", "kill -9 $$"], "the command was ended by SIGKILL before there was"),
        ],
    )
    def test_one_that_does_no_work_is_an_error(
        self, command: list[str], sentence: str, tmp_path: Path
    ) -> None:
        done = run_kebpf("record", "-o", str(tmp_path / "out"), "--", *command)
        assert_refused(done, 3, sentence)
        assert list_left(tmp_path) == []


class Terminal:
    """A pseudo terminal with kebpf on it, as a person would see it."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self._text = b""
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *find_kebpf(), *words],
            env={**os.environ, **with_sources({"TERM": "xterm"})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # EIO: nobody has it open any more
                data = b""
            with self._news:
                self._text += data
                self._news.notify_all()
            if not data:
                return

    @property
    def shown(self) -> str:
        """All that was shown, without the escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._text.decode())

    def wait_for(self, pattern: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: re.search(pattern, self.shown), PATIENCE_SECONDS)

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    def wait(self) -> int:
        """The exit status, once all that was shown is read."""
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return status

    def close(self) -> None:
        self.process.kill()
        self.wait()
        os.close(self._ours)


@contextmanager
def on_terminal(*words: str) -> Iterator[Terminal]:
    """kebpf on a terminal, killed if it still runs at the end."""
    terminal = Terminal(*words)
    try:
        yield terminal
    finally:
        terminal.close()


def test_a_terminal_shows_how_it_goes(service: Service, tmp_path: Path) -> None:
    words = ("record", "-o", str(tmp_path), "--name", "set", "--pid", str(service.pid))
    with on_terminal(*words) as terminal:
        terminal.wait_for(r"recording pid \d+ \([^;]*;\s+Ctrl-C ends it")
        service.fetch("word/a")
        service.fetch("word/b")
        terminal.wait_for(r"requests +2\b")
        terminal.wait_for(r"lost +nothing")
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    shown = " ".join(terminal.shown.split())
    summary = shown[shown.rindex("2 test cases, 0 mocks from 2 requests in ") :]
    assert summary.count(str(tmp_path / "set")) == 1
    assert summary.endswith(" connections")
    assert terminal.shown.count("2 test cases, 0 mocks") == 1
    assert max(map(len, terminal.shown.splitlines()[-2:])) <= 80 + len(str(tmp_path))


def test_recording_does_not_load_what_it_does_not_need(service: Service, tmp_path: Path) -> None:
    with recorder("-o", str(tmp_path), "--pid", str(service.pid)) as recording:
        mapped = Path(f"/proc/{recording.pid}/maps").read_text()
        assert end(recording) == 0
    assert "libLLVM" not in mapped
    assert "libbcc" not in mapped
