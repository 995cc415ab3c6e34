"""``kebpf test``: run events to reporters and to an exit status."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError, NothingToRunError
from kebpf.cli.options import TestOptions
from kebpf.cli.test import name_set, open_reporters, report_run, run_in
from kebpf.recording.store import TestSetWriter
from kebpf.replay.events import RunEvent, RunFailed
from kebpf.replay.setrun import Environment
from kebpf.report.reporter import Reporter
from tests.recording.builders import make_manifest, make_mock
from tests.report.builders import make_case, make_extra_call, make_failed, make_finished


class Recorder:
    """A reporter that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.is_closed = False

    def handle(self, event: RunEvent) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.is_closed = True


def run(events: Sequence[RunEvent], reporters: Sequence[Reporter]) -> int:
    return report_run(iter(events), reporters)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"passed": 3}, ExitStatus.PASSED),
        ({"passed": 3, "skipped": 1}, ExitStatus.PASSED),
        ({"passed": 3, "unused_mocks": 1}, ExitStatus.PASSED),
        ({"passed": 3, "failed": 1}, ExitStatus.CASE_FAILED),
        ({"passed": 3, "errored": 1}, ExitStatus.CASE_FAILED),
        ({"passed": 3, "findings": [make_extra_call()]}, ExitStatus.CASE_FAILED),
        ({"passed": 0}, ExitStatus.NOTHING_RAN),
        ({"passed": 0, "skipped": 2}, ExitStatus.NOTHING_RAN),
    ],
)
def test_the_exit_status_of_a_run(changes: dict[str, Any], status: ExitStatus) -> None:
    assert run([make_finished(**changes)], []) == status


def test_a_failed_run_is_3_and_one_without_an_end_too() -> None:
    assert run([make_case(), RunFailed("it ended")], []) == ExitStatus.ENVIRONMENT
    assert run([make_case()], []) == ExitStatus.ENVIRONMENT
    after_the_end: list[RunEvent] = [make_case(), make_finished(), RunFailed("it ended")]
    assert run(after_the_end, []) == ExitStatus.ENVIRONMENT
    assert run(list(reversed(after_the_end)), []) == ExitStatus.ENVIRONMENT


def test_every_reporter_gets_every_event() -> None:
    reporters = [Recorder(), Recorder()]
    events: list[RunEvent] = [make_case(), make_finished()]
    assert run(events, reporters) == ExitStatus.PASSED
    assert [(r.events, r.is_closed) for r in reporters] == [(events, True), (events, True)]


def test_reports_are_closed_when_the_run_breaks_off() -> None:
    def interrupted() -> Iterator[RunEvent]:
        yield make_case()
        raise KeyboardInterrupt

    reporter = Recorder()
    with pytest.raises(KeyboardInterrupt):
        report_run(interrupted(), [reporter])
    assert reporter.is_closed


def test_the_reports_asked_for_are_written(tmp_path: Path) -> None:
    options = TestOptions(
        test_sets=[],
        command=["serve"],
        junit=tmp_path / "report.xml",
        json=tmp_path / "events.jsonl",
    )
    out = io.StringIO()
    with open_reporters(options, out) as reporters:
        status = run([make_case(), make_failed(), make_finished(failed=1)], reporters)
    assert status == ExitStatus.CASE_FAILED
    assert "FAILED post-orders-77aa" in out.getvalue()
    assert '<testsuites name="kebpf" tests="2" failures="1"' in (tmp_path / "report.xml").read_text(
        encoding="utf-8"
    )
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["event"] == "run_finished"


def test_a_report_that_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    options = TestOptions(test_sets=[], command=["serve"], junit=tmp_path / "no" / "report.xml")
    sentence = r"cannot be written: No such file or directory$"
    with (
        pytest.raises(CommandUsageError, match=sentence),
        open_reporters(options, io.StringIO()),
    ):
        pass


def test_a_set_is_called_so_that_the_command_line_finds_it_again() -> None:
    assert name_set(Path("kebpf/shop-1")) == "shop-1"
    assert name_set(Path("elsewhere/shop-1")) == "elsewhere/shop-1"


def refuse(*_: object) -> Any:
    raise AssertionError("nothing of the environment is needed")


def make_options(path: Path, **changes: Any) -> TestOptions:
    return TestOptions(test_sets=[path], command="serve", **changes)


NO_ENVIRONMENT = Environment(refuse, refuse)


def test_a_run_without_a_matching_case_is_4_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = TestSetWriter(tmp_path / "shop-1")
    writer.commit(make_manifest())
    out = io.StringIO()
    status = run_in(NO_ENVIRONMENT, make_options(tmp_path / "shop-1", cases=["gone"]), out)
    assert status == ExitStatus.NOTHING_RAN
    assert out.getvalue().startswith(f"0 cases from {tmp_path}"[:80])
    assert out.getvalue().endswith("\n\nno case ran\n")
    assert capsys.readouterr().err == "kebpf: no case is called gone\n"


def test_nothing_is_started_for_a_set_without_cases(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "job-1")
    writer.add_mock(make_mock())
    writer.commit(make_manifest())
    with pytest.raises(NothingToRunError) as caught:
        run_in(NO_ENVIRONMENT, make_options(tmp_path / "job-1"), io.StringIO())
    assert caught.value.message == f"there is no test case in {tmp_path}/job-1"
    assert caught.value.hint == (
        f"to run a command on its mocks: kebpf mock {tmp_path}/job-1 -- COMMAND"
    )


def test_what_keeps_a_run_from_beginning_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(KebpfError, match=r"^there is no test set ") as caught:
        run_in(NO_ENVIRONMENT, make_options(tmp_path / "none"), io.StringIO())
    assert caught.value.exit_status == ExitStatus.ENVIRONMENT
    with pytest.raises(KebpfError, match="nobody-by-that-name"):
        run_in(NO_ENVIRONMENT, make_options(tmp_path, user="nobody-by-that-name"), io.StringIO())
