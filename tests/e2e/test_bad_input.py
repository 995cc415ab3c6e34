"""``kebpf test`` where it cannot do its work: a sentence, an exit status, nothing left behind."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from examples.processes import Process
from examples.recorder import find_kebpf, with_sources
from kebpf.recording.store import TestSetWriter
from tests.cli.recorders import (
    NOBODY,
    PATIENCE_SECONDS,
    assert_refused,
    in_shell,
    make_venv,
    run_kebpf,
)
from tests.recording.builders import make_case, make_manifest, make_mock

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a test run needs root"),
]

FAILED = "the run failed: "


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    """A set of one case and one mock."""
    tmp_path.chmod(0o755)
    writer = TestSetWriter(tmp_path / "sets" / "shop")
    writer.add_case(make_case())
    writer.add_mock(make_mock())
    writer.commit(make_manifest())
    return tmp_path / "sets" / "shop"


def list_groups() -> set[str]:
    """The control groups of test runs that are over: their names begin with who made them."""
    groups = Path("/sys/fs/cgroup").rglob("kebpf-test-*")
    return {str(path) for path in groups if not Path("/proc", path.name.split("-")[2]).exists()}


class TestEnvironment:
    """The run's own events are the sentence here: reporters have begun by then."""

    def fail(self, test_set: Path, *words: str, sentence: str, **changes: object) -> None:
        report = test_set.parent.parent / "events"
        before = list_groups()
        arguments = ("test", str(test_set), "--json", str(report), *words)
        done = run_kebpf(*arguments, **changes)  # type: ignore[arg-type]
        assert done.returncode == 3, done.stdout + done.stderr
        assert done.stderr == ""
        assert "Traceback" not in done.stdout
        [told] = [line for line in done.stdout.splitlines() if line.startswith(FAILED)]
        assert sentence in told
        events = [json.loads(line) for line in report.read_text().splitlines()]
        [failed] = [event for event in events if event["event"] == "run_failed"]
        assert sentence in failed["reason"]
        assert (events[-1]["event"], events[-1]["passed"]) == ("run_finished", 0)
        assert list_groups() <= before

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (["/no/such"], "the command /no/such was not found"),
            (["/etc/passwd"], "the command /etc/passwd is not executable for root"),
            (["false"], "the application exited with status 1 before it listened"),
            (["true"], "before it listened (it must stay in the foreground)"),
        ],
    )
    def test_a_command_that_does_not_stay(
        self, command: list[str], sentence: str, test_set: Path
    ) -> None:
        self.fail(test_set, "--", *command, sentence=sentence)

    @pytest.mark.parametrize(
        ("setup", "sentence"),
        [
            ("mount -t tmpfs none /sys/kernel/btf", "this kernel has no BTF type information"),
            ("mount --bind /dev/null /sys/kernel/btf/vmlinux", "type information is not BTF"),
            ("umount -R /sys/fs/cgroup", "no version 2 control groups are mounted here"),
        ],
    )
    def test_a_host_that_lacks_something(self, setup: str, sentence: str, test_set: Path) -> None:
        self.fail(test_set, "--", "true", sentence=sentence, prefix=in_shell(setup))

    @pytest.mark.parametrize("wrong", [False, True])
    def test_no_bcc_or_the_wrong_one(self, wrong: bool, test_set: Path, tmp_path: Path) -> None:
        environment = {"KEBPF_BCC_PYTHON": make_venv(tmp_path / "venv", wrong)}
        sentence = "bcc is not to be had"
        self.fail(test_set, "--", "true", sentence=sentence, environment=environment)

    def test_no_root(self, test_set: Path) -> None:
        nobody = ["setpriv", "--reuid", str(NOBODY), "--clear-groups"]
        with TemporaryDirectory() as folder:  # pytest's own are root's
            theirs = Path(folder, "sets", "shop")
            shutil.copytree(test_set, theirs)
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            sentence = "run as root, or with --rootless"
            self.fail(theirs, "--", "true", sentence=sentence, prefix=nobody, folder=Path("/"))


def empty(test_set: Path) -> None:
    shutil.rmtree(test_set)
    test_set.mkdir()


def half_write(test_set: Path) -> None:
    """As it is before its last moment."""
    (test_set / "test-set.yaml").unlink()


def lose_mocks(test_set: Path) -> None:
    (test_set / "mocks.msgpack").unlink()


def cut_mocks(test_set: Path) -> None:
    path = test_set / "mocks.msgpack"
    os.truncate(path, path.stat().st_size - 1)


def damage_case(test_set: Path) -> None:
    [case] = (test_set / "tests").iterdir()
    case.write_text("request: [\n")


def mistype_field(test_set: Path) -> None:
    [case] = (test_set / "tests").iterdir()
    case.write_text(case.read_text().replace("  status: 200\n", "  staus: 200\n", 1))


def name_another_mock(test_set: Path) -> None:
    [case] = (test_set / "tests").iterdir()
    case.write_text(case.read_text().replace("calls: []", "calls: [mock-000099]", 1))


def damage_manifest(test_set: Path) -> None:
    (test_set / "test-set.yaml").write_bytes(b"\x00\xff")


def make_newer(test_set: Path) -> None:
    path = test_set / "test-set.yaml"
    path.write_text(path.read_text().replace("version: 1\n", "version: 99\n", 1))


class TestSets:
    @pytest.mark.parametrize(
        ("spoil", "sentence"),
        [
            (empty, "shop is empty; record one with"),
            (half_write, "shop holds no test-set.yaml, so no test set (or half of one)"),
            (lose_mocks, "mocks.msgpack is missing: the test set is not whole"),
            (cut_mocks, "mocks.msgpack, byte 0: "),
            (damage_case, "not valid YAML"),
            (mistype_field, "response/staus: no such field (is it 'status'?); mend it or"),
            (damage_manifest, "test-set.yaml"),
            (make_newer, "written by a newer kebpf (format 99, this one reads 1); update kebpf"),
        ],
    )
    def test_one_that_is_not_whole(
        self, spoil: Callable[[Path], None], sentence: str, test_set: Path, tmp_path: Path
    ) -> None:
        spoil(test_set)
        marker = tmp_path / "started"
        for words in (("shop", "-o", str(test_set.parent)), (str(test_set),)):
            done = run_kebpf("test", *words, "--", "touch", str(marker))
            assert_refused(done, 3, sentence)
            assert done.stdout == ""
        assert not marker.exists()
        assert_refused(run_kebpf("show", str(test_set)), 3, sentence)

    def test_one_whose_case_names_a_mock_that_is_not_there(self, test_set: Path) -> None:
        """Of two recordings, say; `kebpf show` still shows what there is."""
        name_another_mock(test_set)
        done = run_kebpf("test", str(test_set), "--", "true")
        assert_refused(done, 3, "makes the call 'mock-000099', which mocks.msgpack does not hold")
        assert "mock-000099 is not among the mocks" in run_kebpf("show", str(test_set)).stdout

    def test_one_that_was_never_finished_is_not_among_all(self, test_set: Path) -> None:
        test_set.rename(test_set.with_name(".shop.unfinished-1"))
        words = ("test", "-o", str(test_set.parent), "--", "true")
        assert_refused(run_kebpf(*words), 4, "there is no test set under")

    def test_one_that_does_not_exist(self, tmp_path: Path) -> None:
        words = ("test", "gone", "-o", str(tmp_path), "--", "true")
        assert_refused(run_kebpf(*words), 2, "there is no test set 'gone'")

    def test_one_that_may_not_be_read(self, test_set: Path) -> None:
        nobody = ["setpriv", "--reuid", str(NOBODY), "--clear-groups"]
        for name in (str(test_set), str(test_set.parent)):
            done = run_kebpf("test", name, "--", "true", prefix=nobody, folder=Path("/"))
            assert_refused(done, 3, "cannot be read: Permission denied", "run as its owner")


class TestReports:
    @pytest.mark.parametrize("option", ["--json", "--junit"])
    def test_one_that_cannot_be_opened(self, option: str, test_set: Path, tmp_path: Path) -> None:
        marker = tmp_path / "started"
        words = ("test", str(test_set), option, str(tmp_path), "--", "touch", str(marker))
        assert_refused(run_kebpf(*words), 2, f"{tmp_path} cannot be written: Is a directory")
        assert not marker.exists()

    @pytest.mark.parametrize("option", ["--json", "--junit"])
    def test_a_full_disk(self, option: str, test_set: Path) -> None:
        before = list_groups()
        done = run_kebpf("test", str(test_set), option, "/dev/full", "--", "false")
        assert_refused(done, 3, "No space left on device", "free some space")
        assert list_groups() <= before

    @pytest.mark.parametrize("words", [("test",), ("show",)])
    def test_a_full_disk_behind_standard_output(
        self, words: tuple[str, ...], test_set: Path
    ) -> None:
        full = ["sh", "-c", 'exec "$@" > /dev/full', "sh"]
        command = ["--", "false"] if words == ("test",) else []
        done = run_kebpf(*words, str(test_set), *command, prefix=full)
        assert_refused(done, 3, "No space left on device")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_cut_short_leaves_no_application(
    number: signal.Signals, test_set: Path, tmp_path: Path
) -> None:
    """It never listens, so the run waits; how long is for `tests/replay` to see."""
    code = "import os, signal; print('up', os.getpid(), flush=True); signal.pause()"
    before = list_groups()
    run = Process(
        "kebpf test",
        [*find_kebpf(), "test", "-v", str(test_set), "--", sys.executable, "-c", code],
        environment=with_sources({}),
        folder=tmp_path,
    )
    try:
        pid = int(run.wait_for(lambda line: "| up " in line).split()[-1])
        application = os.pidfd_open(pid)
        os.kill(run.pid, number)
        assert run.wait(PATIENCE_SECONDS) == (-number if number == signal.SIGKILL else 130)
        ended, _, _ = select.select([application], [], [], PATIENCE_SECONDS)
        assert ended == [application]
        os.close(application)
    finally:
        run.stop(signal.SIGKILL)
    left = list_groups() - before
    if number == signal.SIGKILL:  # nobody is there any more who could remove it
        for group in left:
            Path(group).rmdir()
    else:
        assert left == set()
