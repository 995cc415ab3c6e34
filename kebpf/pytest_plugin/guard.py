"""Gives each test its mocks and holds it to account for its calls."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from kebpf.pytest_plugin.calls import Calls, Miss, describe_misses, describe_unused
from kebpf.pytest_plugin.channel import Channel, ChannelError
from kebpf.pytest_plugin.marks import MarkError, Wanted, make_wanted, read_mark

SECTION = "kebpf"
UNMARKED = ": the test is not marked with @pytest.mark.kebpf(SET)"
OUTSIDE = ", made outside of every test"
_IS_OVER = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)


class TestMocks:
    """The mocks of the test now running, and what was called of them."""

    __test__ = False

    def __init__(self, channel: Channel, item: pytest.Item, wanted: Wanted | None) -> None:
        self.wanted = wanted
        self._channel = channel
        self._item = item
        self._has_failed = False
        self.calls = Calls()

    @property
    def _source(self) -> str:
        if self.wanted is not None:
            return f" in {self.wanted}"
        named = ", ".join(self._channel.named_sets)
        return f" in {named}" if named else UNMARKED

    def look(self) -> list[Miss]:
        """The misses that are no one's yet."""
        return self.calls.take(self._channel.look())

    def judge(self, misses: list[Miss], when: str) -> str | None:
        """Why the test fails because of them, if it does; else the report mentions them."""
        if not misses:
            return None
        text = describe_misses(misses, self._source)
        if self.wanted is not None and self.wanted.tolerates_misses:
            self._item.add_report_section(when, SECTION, text)
            return None
        self._has_failed = True
        return text

    def note_failure(self) -> None:
        """The test has failed: what it left unused says nothing any more."""
        self._has_failed = True

    @contextmanager
    def open(self, wanted: Wanted) -> Iterator[Calls]:
        """Only the mocks of ``wanted`` answer while the block runs.

        Fails the test at its end for misses, or for unused mocks, where that is wanted.
        """
        when = "call"
        before = self.calls.take(self._channel.begin(*_arguments(wanted)))
        inner = TestMocks(self._channel, self._item, wanted)
        try:
            yield inner.calls
        except BaseException:
            inner.note_failure()
            raise
        finally:
            fresh = inner.calls.take(self._channel.end())
            problem = self.judge(before, when) or inner.judge(fresh, when)
            problem = problem or inner.judge_unused(when)
            if problem is not None:
                self._item.add_report_section(when, SECTION, problem)
        if problem is not None:
            pytest.fail(problem, pytrace=False)

    def judge_unused(self, when: str) -> str | None:
        """Why the test fails because of unused mocks, if it does; else the report mentions them."""
        if self.wanted is None or self._has_failed or self.calls.used == self.calls.mocks:
            return None
        text = describe_unused(self.calls, str(self.wanted))
        if self.wanted.unused == "error":
            return text
        self._item.add_report_section(when, SECTION, text)
        return None

    def end(self) -> list[Miss]:
        """The test is over; its last misses."""
        return self.calls.take(self._channel.look() if self.wanted is None else self._channel.end())


def _arguments(wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    return wanted.sets, wanted.cases, wanted.tolerates_misses


class Kebpf:
    """The fixture ``kebpf``: mocks that are chosen in the code of a test."""

    def __init__(self, mocks: TestMocks) -> None:
        self._mocks = mocks

    @contextmanager
    def mocks(self, *sets: str, **options: object) -> Iterator[Calls]:
        """Within the block calls are answered from the mocks of these sets, and no others.

        The options are the mark's: ``cases``, ``misses`` and ``unused``.  What is given tells
        what came of the calls: whole when the block is over.
        """
        try:
            wanted = make_wanted(sets, options)
            with self._mocks.open(wanted) as calls:
                yield calls
        except (MarkError, ChannelError) as error:
            pytest.fail(f"kebpf: {error}", pytrace=False)

    @property
    def calls(self) -> Calls:
        """What came of the test's own calls by now, those within `mocks` apart."""
        return self._mocks.calls


class MockGuard:
    """The hooks of a pytest process that runs under ``kebpf mock``."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._running: TestMocks | None = None
        self.outside: list[Miss] = []

    @pytest.fixture
    def kebpf(self) -> Kebpf:
        """Mocks for a part of a test: ``with kebpf.mocks("set", cases=…) as calls: …``."""
        assert self._running is not None
        return Kebpf(self._running)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """A call without an answer makes an error of the test's setup."""
        self._running = None
        return (yield from self._guard(item, "setup"))

    @pytest.hookimpl(specname="pytest_runtest_setup")
    def pytest_kebpf_begin(self, item: pytest.Item) -> None:
        """Opens the test's scope, before its fixtures are set up and unless it is skipped."""
        problem = None
        try:
            wanted = read_mark(item)
            mocks = TestMocks(self._channel, item, wanted)
            begin = self._channel.begin
            said = self._channel.look() if wanted is None else begin(*_arguments(wanted))
        except (MarkError, ChannelError) as error:
            problem = f"kebpf: {error}"
        if problem is not None:
            pytest.fail(problem, pytrace=False)
        self.outside += Calls().take(said)
        self._running = mocks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """A call without an answer fails the test, whatever it made of that."""
        return (yield from self._guard(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """The scope ends when the test's fixtures are gone."""
        try:
            return (yield from self._guard(item, "teardown"))
        finally:
            self._running = None

    def _guard(self, item: pytest.Item, when: str) -> Generator[None, object, object]:
        try:
            result = yield
        except _IS_OVER:
            raise
        except BaseException as error:
            problem = self._judge(when)
            if problem is not None:
                item.add_report_section(when, SECTION, problem)
                if isinstance(error, pytest.skip.Exception):  # a test that gives up is not excused
                    pytest.fail(problem, pytrace=False)
            if self._running is not None:
                self._running.note_failure()
            raise
        problem = self._judge(when)
        if problem is not None:
            pytest.fail(problem, pytrace=False)
        return result

    def _judge(self, when: str) -> str | None:
        """Why the test has failed by now."""
        mocks = self._running
        if mocks is None:
            return None
        try:
            if when != "teardown":
                return mocks.judge(mocks.look(), when)
            return mocks.judge(mocks.end(), when) or mocks.judge_unused(when)
        except ChannelError as error:
            return f"kebpf: {error}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Calls that belong to no test fail the run."""
        try:
            self.outside += Calls().take(self._channel.look())
        except ChannelError as error:
            self.outside.append(Miss("", "", str(error)))
        if self.outside and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tells them."""
        if self.outside:
            terminalreporter.section("kebpf: calls outside of every test", sep="-", red=True)
            terminalreporter.line(describe_misses(self.outside, OUTSIDE))

    def pytest_unconfigure(self) -> None:
        """Leaves."""
        self._channel.close()


class NoMocks:
    """The hooks of a pytest process without kebpf around it: a marked test cannot run."""

    SENTENCE = (
        "kebpf: the calls of this test are to be answered from a recording: run it as "
        "`sudo kebpf mock -- pytest …`, or without root as `kebpf mock --rootless -- pytest …`"
    )

    @pytest.fixture
    def kebpf(self) -> Kebpf:
        """Mocks for a part of a test: ``with kebpf.mocks("set", cases=…) as calls: …``."""
        pytest.fail(self.SENTENCE, pytrace=False)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Never runs a marked test without its mocks (nor one that is skipped anyway)."""
        if item.get_closest_marker("kebpf") is not None:
            pytest.fail(self.SENTENCE, pytrace=False)
