"""kebpf on applications it was not written with: each recorded under load, replayed, changed.

``KEBPF_STRANGERS="name …"`` chooses applications, ``KEBPF_STRANGERS=all`` takes all; without it
those are run whose declaration says ``in_ci``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, TestRun, read_set
from tests.e2e.searching import find_in_files
from tests.e2e.strangers.declaration import Stranger, copy_changed, find_strangers
from tests.e2e.strangers.harness import Application, Services

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(900)]

ORDERS = {"recorded": (), "shuffled": ("--shuffle", "7"), "alone": ("--alone",)}
ALONE_IN_CI = 12  # cases
CHANGED_IN_CI = 3  # regressions


def is_asked_for() -> bool:
    """Whether the applications were asked for, and so are tested at length."""
    return bool(os.environ.get("KEBPF_STRANGERS"))


def chosen_strangers() -> list[Stranger]:
    """Those that ``KEBPF_STRANGERS`` names, by default a sample."""
    names = os.environ.get("KEBPF_STRANGERS", "").split()
    everything = find_strangers()
    if names == ["all"]:
        return everything
    unknown = set(names) - {one.name for one in everything}
    if unknown:
        raise ValueError(f"KEBPF_STRANGERS: there is no {', '.join(sorted(unknown))}")
    return [one for one in everything if (one.name in names if names else one.in_ci)]


@dataclass(frozen=True)
class Recorded:
    """An application whose services are off by now, and its recording from the start."""

    application: Application
    path: Path
    summary: Entry
    routes: dict[str, str]


@pytest.fixture(scope="module", params=chosen_strangers(), ids=lambda stranger: stranger.name)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """Each application in turn."""
    skip_unless_root()
    stranger: Stranger = request.param
    reason = stranger.why_not() or why_not()
    if reason is not None:
        pytest.skip(reason)
    path = tmp_path_factory.mktemp(stranger.name) / "fresh"
    with Services(stranger) as services:
        application = Application(stranger, services)
        summary = application.record(path)
        services.switch_off()
        yield Recorded(application, path, summary, read_routes(path))


def read_routes(path: Path) -> dict[str, str]:
    """``METHOD /path`` of each case, by its name."""
    cases = (entry for entry in read_set(path) if entry["kind"] == "test")
    return {
        case["name"]: f"{case['request']['method']} {case['request']['path']}" for case in cases
    }


def expect_failure(recorded: Recorded, order: str, request: pytest.FixtureRequest) -> None:
    """An application that cannot pass yet says why; once it passes, that is to be taken out."""
    broken = recorded.application.stranger.broken.get(order)
    if broken:
        request.applymarker(pytest.mark.xfail(reason=broken, strict=True))


def choose_options(order: str, recorded: Recorded) -> list[str]:
    """Each case alone is a start each: all of them only where an application was asked for."""
    names = sorted(recorded.routes)
    if order != "alone" or is_asked_for():
        return [*ORDERS[order]]
    sample = names[:: -(-len(names) // ALONE_IN_CI)]
    return [*ORDERS[order], *(word for name in sample for word in ("--case", name))]


def assert_all_passed(run: TestRun, count: int) -> None:
    assert (run.status, run.failed) == (0, []), run.explain()
    assert run.finished["passed"] == len(run.cases) == count
    assert not any(run.finished[name] for name in ("failed", "errored", "skipped", "findings"))


def test_every_request_is_a_case(recorded: Recorded) -> None:
    summary = recorded.summary
    assert summary["lost_events"] == summary["lost_bytes"] == 0
    left_out = sum(summary["left_out"].values())
    assert summary["test_cases"] + left_out == summary["requests"] > summary["sent"]
    assert left_out == 0, summary["left_out"]


def test_no_credential_is_in_any_file(recorded: Recorded) -> None:
    """What the customers sent to be let in; the shop's own test hides more."""
    assert find_in_files(recorded.path, sorted(recorded.application.credentials)) == {}


@pytest.mark.parametrize("order", ORDERS)
def test_same_version_passes(
    order: str, recorded: Recorded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In recorded order, in another, and each case by itself."""
    expect_failure(recorded, order, request)
    options = choose_options(order, recorded)
    run = recorded.application.replay(recorded.path, tmp_path / "events.jsonl", *options)
    assert_all_passed(run, options.count("--case") or recorded.summary["test_cases"])


def test_regressions_are_seen_where_they_are(recorded: Recorded, tmp_path: Path) -> None:
    """Every change of the source fails cases of the routes it is in, and no others."""
    application = recorded.application
    broken = application.stranger.broken.get("recorded")
    if broken:
        pytest.skip(f"it fails unchanged: {broken}")
    wrong = {}
    changes = application.stranger.changes
    for index, change in enumerate(changes if is_asked_for() else changes[:CHANGED_IN_CI]):
        folder = copy_changed(application.stranger, change, tmp_path / str(index))
        run = application.replay(recorded.path, tmp_path / f"{index}.jsonl", folder=folder)
        failed = {recorded.routes[case["case"]] for case in run.failed}
        elsewhere = {one for one in failed if not any(fnmatchcase(one, r) for r in change.red)}
        is_seen = run.status == 1 and bool(failed or run.finished["findings"])
        if elsewhere or is_seen == bool(change.escapes):
            wrong[change.name] = (run.status, sorted(failed), run.explain())
    assert not wrong
