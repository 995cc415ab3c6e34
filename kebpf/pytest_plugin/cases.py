"""``pytest --kebpf DIR``: recorded cases as tests, run against the application."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent

import pytest

from kebpf.cli.casehost import Order
from kebpf.cli.command import choose_command
from kebpf.cli.config import Config, load_config
from kebpf.cli.errors import KebpfError
from kebpf.cli.options import DEFAULT_TIMEOUT, RECORDINGS_FOLDER, TestOptions
from kebpf.cli.sets import MANIFEST_NAME, find_test_sets
from kebpf.pytest_plugin.host import CaseHost, HostError
from kebpf.recording.errors import TestSetError
from kebpf.recording.model import TestCase
from kebpf.recording.store import TestSet
from kebpf.replay.events import CallFinding, CaseFinished, RunFailed, Verdict
from kebpf.replay.sharing import SharedCall, judge_shared
from kebpf.report.calls import show_call
from kebpf.report.failure import show_failure

WIDTH = 80
WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
OUTPUT_KEY = "kebpf"  # in what a worker of xdist hands over
OF_NO_CASE = "calls of no case"
RUN = "the run"


@dataclass(slots=True)
class SetOutcome:
    """What a test set's run came to beside its cases; ``nodeid`` is its file's."""

    nodeid: str
    failures: list[RunFailed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[CallFinding] = field(default_factory=list)
    shared: list[SharedCall] = field(default_factory=list)


class CaseFailedError(Exception):
    """A case that did not pass."""

    def __init__(self, finished: CaseFinished) -> None:
        super().__init__(finished.case)
        self.finished = finished


class CaseItem(pytest.Item):
    """One recorded case."""

    def __init__(self, *, case: TestCase, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        request = case.request
        self._title = f"{request.get('method', '')} {request.get('target', '')}".strip()
        if case.set_apart is not None:
            self.add_marker(pytest.mark.skip(reason=f"set apart: {case.set_apart}"))

    @property
    def runs(self) -> CaseRuns:
        """Those of this pytest process."""
        return self.config.stash[RUNS]

    def setup(self) -> None:
        """Has the application there; without it the test is an error, told in its words."""
        assert isinstance(self.parent, SetFile)
        refusal = None
        try:
            self.runs.require(self.parent)
        except HostError as error:
            refusal = str(error)
        if refusal is not None:
            pytest.fail(refusal, pytrace=False)

    def runtest(self) -> None:
        """Sends the request.  Raises `CaseFailedError`."""
        finished = self.runs.run(self.name)
        if finished.verdict is Verdict.SKIPPED:
            pytest.skip(finished.error or "not sent")
        if finished.verdict is not Verdict.PASSED:
            raise CaseFailedError(finished)

    def repr_failure(  # type: ignore[override]
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        """As ``kebpf test`` shows it."""
        error = excinfo.value
        if isinstance(error, CaseFailedError):
            return describe_case(error.finished)
        return str(error) if isinstance(error, HostError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case is, and what it sends."""
        return self.path, 0, f"{self.name} ({self._title})"


class SetFile(pytest.File):
    """A test set; its cases are collected in recorded order, without starting anything."""

    def collect(self) -> Iterator[CaseItem]:
        """All cases, those that were set apart too."""
        try:
            cases = [case for _, case in TestSet.open(self.path.parent).files()]
        except TestSetError as error:
            raise self.CollectError(str(error)) from error
        for case in cases:
            yield CaseItem.from_parent(self, name=case.name, case=case)


def describe_case(finished: CaseFinished) -> str:
    """A failed case in whole."""
    return dedent("\n".join(line.text for line in show_failure(finished, WIDTH)))


class CaseRuns:
    """The hooks of ``--kebpf``, and the one application that runs at a time."""

    def __init__(self, config: pytest.Config, sets: Sequence[Path], options: TestOptions) -> None:
        self._files = {(path / MANIFEST_NAME).resolve() for path in sets}
        self._options = options
        self._is_worker = bool(os.environ.get(WORKER_VARIABLE))
        self._host: CaseHost | None = None
        self._file: SetFile | None = None
        self._refusals: dict[str, str] = {}  # by test set: why its application is not there
        self._outcomes: list[SetOutcome] = []
        self._is_over = False

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> SetFile | None:
        """Test sets that were asked for, and no other file."""
        if file_path.name != MANIFEST_NAME or file_path.resolve() not in self._files:
            return None
        return SetFile.from_parent(parent, path=file_path)

    def require(self, file: SetFile) -> None:
        """Has the application of a test set run, and no other.  Raises `HostError`."""
        if file.nodeid in self._refusals:
            raise HostError(self._refusals[file.nodeid])
        if self._file is file and self._host is not None:
            return
        self.finish()
        items = (item for item in file.session.items if item.parent is file)
        names = [item.name for item in items if not item.get_closest_marker("skip")]
        self._file, self._host = file, CaseHost(self._make_order(file, names))
        try:
            self._host.wait_ready()
        except HostError as error:
            self._refusals[file.nodeid] = str(error)
            self._host.failures.clear()  # every case of the set tells
            self.finish()
            raise

    def _make_order(self, file: SetFile, names: list[str]) -> Order:
        is_isolated = self._options.is_isolated or self._is_worker
        options = replace(
            self._options,
            test_sets=[shorten(file.path.parent)],
            is_isolated=is_isolated and not self._options.is_rootless,
        )
        return Order(options, names, is_part=self._is_worker)

    def run(self, name: str) -> CaseFinished:
        """Runs a case of the set that was required.  Raises `HostError`."""
        assert self._host is not None and self._file is not None
        try:
            return self._host.run(name)
        except HostError as error:
            self._refusals[self._file.nodeid] = str(error)
            raise

    def finish(self) -> None:
        """Ends the application that runs, if there is one."""
        host, file = self._host, self._file
        self._host = self._file = None
        if host is None or file is None:
            return
        host.finish()
        outcome = SetOutcome(file.nodeid, host.failures, host.notes)
        if host.part is not None:
            outcome.findings, outcome.shared = host.part.findings, host.part.shared
        self._outcomes.append(outcome)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """What belongs to no case is told last, as tests that failed."""
        try:
            return (yield)
        finally:
            self.finish()
            if not self._is_worker:
                self._tell(session)

    def _tell(self, session: pytest.Session) -> None:
        for report in make_reports(self._outcomes):
            session.config.hook.pytest_runtest_logreport(report=report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker of xdist hands over what it knows."""
        self.finish()
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[OUTPUT_KEY] = base64.b85encode(pickle.dumps(self._outcomes)).decode()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        """Takes over what a worker of xdist knows."""
        told = getattr(node, "workeroutput", {}).get(OUTPUT_KEY)
        if told is not None:
            self._outcomes += pickle.loads(base64.b85decode(told))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """Cases that depend on one another stay on one worker, in their order."""
        from kebpf.pytest_plugin.scheduling import make_scheduler

        return make_scheduler(config, log, self._files)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tells what a person should read."""
        for note in dict.fromkeys(note for one in self._outcomes for note in one.notes):
            terminalreporter.line(f"kebpf: {note}")


RUNS = pytest.StashKey[CaseRuns]()


def make_reports(outcomes: Sequence[SetOutcome]) -> Iterator[pytest.TestReport]:
    """A failed report for each set's findings that belong to no case, and for a failed run."""
    for nodeid in dict.fromkeys(one.nodeid for one in outcomes):
        own = [one for one in outcomes if one.nodeid == nodeid]
        failures = dict.fromkeys(_describe_failure(each) for one in own for each in one.failures)
        if failures:
            yield _make_report(nodeid, RUN, "\n".join(failures))
        findings = [finding for one in own for finding in one.findings]
        findings += judge_shared(call for one in own for call in one.shared)
        if findings:
            lines = [line.text for one in findings for line in show_call(one, WIDTH)]
            yield _make_report(nodeid, OF_NO_CASE, "\n".join(lines))


def _describe_failure(failure: RunFailed) -> str:
    return "\n".join([failure.reason, *(f"  {line}" for line in failure.output)])


def _make_report(nodeid: str, name: str, text: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=f"{nodeid}::{name}",
        location=(nodeid, None, name),
        keywords={},
        outcome="failed",
        longrepr=text,
        when="call",
    )


def shorten(path: Path) -> Path:
    """A test set as the command line would name it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def prepare(config: pytest.Config) -> None:
    """Has the sets of ``--kebpf`` collected.  Raises `pytest.UsageError`."""
    try:
        settings = load_config(Path.cwd())
        folder = settings.output or RECORDINGS_FOLDER
        sets = find_test_sets(config.getoption("kebpf_sets"), folder)
        options = _make_options(config, settings, sets)
    except KebpfError as error:
        raise pytest.UsageError(f"kebpf: {error.message}") from error
    runs = CaseRuns(config, sets, options)
    config.stash[RUNS] = runs
    config.pluginmanager.register(runs, "kebpf-cases")
    config.args = choose_arguments(config, [str(path / MANIFEST_NAME) for path in sets])


def choose_arguments(config: pytest.Config, files: Sequence[str]) -> list[str]:
    """What to collect: the sets, and what was named beside them.

    Where a case of a set is named, only that.
    """
    is_named = config.args_source is pytest.Config.ArgsSource.ARGS
    named = list(config.args) if is_named else []
    chosen = {Path(one.partition("::")[0]).resolve() for one in named}
    return [*named, *(one for one in files if Path(one).resolve() not in chosen)]


def _make_options(config: pytest.Config, settings: Config, sets: list[Path]) -> TestOptions:
    command = choose_command([], config.getoption("kebpf_command"), settings.command)
    if not command and not config.option.collectonly:
        raise pytest.UsageError(
            "kebpf: how to start the application was not said: --kebpf-command, or the key command "
            "in kebpf.yml"
        )
    return TestOptions(
        test_sets=sets,
        command=command or "",
        is_isolated=config.getoption("kebpf_isolated") or settings.isolated,
        is_rootless=config.getoption("kebpf_rootless") or settings.rootless,
        delay=settings.delay or 0.0,
        timeout=settings.timeout or DEFAULT_TIMEOUT,
        user=settings.user,
        trust=settings.trust,
        noise=settings.noise,
    )
