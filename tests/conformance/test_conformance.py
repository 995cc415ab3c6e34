"""Client libraries see the same from the responder as from the real server, in every form.

``CONFORMANCE="psycopg node"`` chooses rows or whole environments, ``CONFORMANCE=all`` takes all of
them, in all their forms; without it a sample of rows runs as recorded, changed, and in the first of
its other forms.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conformance.declaration import (
    CHANGED,
    PLAIN,
    Environment,
    Row,
    choose_rows,
    install,
)
from tests.conformance.harness import Client, Ran, Recorded
from tests.conformance.services import Services
from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(900),
]

AT_ONCE = 2  # programs
SHOWN_LINES = 40
SHOWN_CHARACTERS = 400  # of a line

CHOSEN = os.environ.get("CONFORMANCE", "")
ROWS = [row for row in choose_rows("" if CHOSEN == "all" else CHOSEN) if CHOSEN or row.in_ci]


def list_forms(row: Row) -> list[str]:
    """Its forms other than the one it is recorded in."""
    return list(row.forms) if CHOSEN else list(row.forms)[:1]


ROWS_AND_FORMS = [(row, form) for row in ROWS for form in (PLAIN, *list_forms(row))]


@dataclass(frozen=True)
class Subject:
    """What became of a row: its recording, its forms with the real server and with mocks."""

    client: Client
    recorded: Future[Recorded]
    real: dict[str, Future[Ran]] = field(default_factory=dict)
    replayed: dict[str, Future[Ran]] = field(default_factory=dict)

    def lines(self, form: str) -> list[str]:
        """What the real server has the program print."""
        ran = self.real[form].result() if form in self.real else self.recorded.result().ran
        assert ran.status == 0, ran.said
        return ran.lines

    def replay(self, form: str) -> Ran:
        self.recorded.result()
        return self.replayed[form].result()


class Runs:
    """Records all rows, then replays them when every server is off; a few at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._subjects: dict[str, Subject] = {}

    def make(self, rows: Sequence[Row]) -> None:
        """All runs of some rows.  What goes wrong in one comes up in its own tests."""
        installed = {name: install(one) for name, one in list_environments(rows).items()}
        with Services(rows) as services, ThreadPoolExecutor(AT_ONCE) as pool:
            for row in rows:
                client = Client(row, installed[row.environment.name], self._folder / row.name)
                subject = Subject(client, pool.submit(self._record, client, services))
                self._subjects[row.name] = subject
                for form in set(row.prints_otherwise) & set(list_forms(row)):
                    subject.real[form] = pool.submit(self._run, client, services, form)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for row in rows:
                self._replay(self._subjects[row.name], pool)

    def _record(self, client: Client, services: Services) -> Recorded:
        with services.serve(client.row) as service:
            return client.record(service)

    def _run(self, client: Client, services: Services, form: str) -> Ran:
        with services.serve(client.row) as service:
            return client.run(form, service)

    def _replay(self, subject: Subject, pool: ThreadPoolExecutor) -> None:
        if subject.recorded.exception() is not None:
            return
        for form in (PLAIN, *list_forms(subject.client.row), CHANGED):
            recorded = subject.recorded.result()
            subject.replayed[form] = pool.submit(subject.client.replay, form, recorded)

    def find(self, row: Row) -> Subject:
        """Skips the test if there were no runs of a row."""
        if row.name not in self._subjects:
            pytest.skip(row.why_not() or "it was not asked for")
        return self._subjects[row.name]


def list_environments(rows: Sequence[Row]) -> dict[str, Environment]:
    """Those of some rows, by name."""
    return {row.environment.name: row.environment for row in rows}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The runs of the rows that tests were chosen of; all servers are off."""
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    chosen = set(list_chosen(request.session.items))
    runs = Runs(tmp_path_factory.mktemp("conformance"))
    runs.make([row for row in ROWS if row.name in chosen and row.why_not() is None])
    return runs


def list_chosen(items: Sequence[pytest.Item]) -> Iterator[str]:
    """The names of the rows that there are tests of."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.module.__name__ != __name__:
            continue
        if "runs" in item.fixturenames:
            row = item.callspec.params["row"]
            assert isinstance(row, Row)
            yield row.name


def assert_same(before: Sequence[str], ran: Ran) -> None:
    """What was printed, to the byte."""
    if list(before) != ran.lines:
        differences = difflib.unified_diff(before, ran.lines, "real", "responder", "", "", 0, "")
        shown = [line[:SHOWN_CHARACTERS] for line in differences][:SHOWN_LINES]
        pytest.fail("\n".join([*shown, ran.said]), pytrace=False)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_everything_is_recorded(row: Row, runs: Runs) -> None:
    recorded = runs.find(row).recorded.result()
    assert recorded.summary["left_out"] == {}
    lost = ("lost_events", "lost_bytes", "unparsed_connections", "test_cases")
    assert {name: recorded.summary[name] for name in lost} == dict.fromkeys(lost, 0)
    assert recorded.ran.lines
    assert all(isinstance(json.loads(line), dict) for line in recorded.ran.lines)


@pytest.mark.parametrize(
    ("row", "form"), ROWS_AND_FORMS, ids=[f"{row}-{form}" for row, form in ROWS_AND_FORMS]
)
def test_client_sees_no_difference(row: Row, form: str, runs: Runs) -> None:
    ran = runs.find(row).replay(form)
    assert_same(runs.find(row).lines(form), ran)
    misses, used, mocks = ran.calls
    assert (ran.status, misses) == (0, 0), ran.said
    assert 0 < used <= mocks
    if form == PLAIN:
        assert used == mocks


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_other_call_is_an_error_of_the_library(row: Row, runs: Runs) -> None:
    """And what comes after it is answered."""
    ran = runs.find(row).replay(CHANGED)
    assert_same(runs.find(row).lines(PLAIN), Ran(ran.status, ran.lines[:-1], ran.said))
    seen = json.loads(ran.lines[-1])
    assert (seen["changed"], seen["usable"]) == (row.raises, True), seen
    assert (ran.status, ran.calls[0]) == (1, 1), ran.said
    assert "recorded but different: " in ran.said or "never recorded: " in ran.said
