"""The same statement by warm and cold caches, other pools, other forms: right rows, always."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.accounts.forms import DRIVERS, FORMS, OTHER_CALLS, OWNERS
from tests.e2e.accounts.stand import Stand, preparing
from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, TestRun

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(300),
]

PREPARED_BEFORE = "was prepared before the recording began"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with preparing(tmp_path_factory.mktemp("accounts")) as prepared:
        yield prepared


def whose(case: Entry) -> tuple[str, str]:
    """Driver and owner of a finished case."""
    driver, owner = urlsplit(case["request"].split()[1]).path[1:].split("/")
    return driver, owner


def tell(run: TestRun) -> list[str]:
    """What was found, for the failure of a test."""
    return [f"{case['request']} {case['mismatches']} {case['calls']}" for case in run.failed]


def assert_green(run: TestRun, count: int) -> None:
    assert tell(run) == []
    assert (run.status, run.finished["passed"]) == (0, count), run.explain()
    assert (run.finished["misses"], run.finished["findings"]) == (0, [])


def assert_swapped_is_red(run: TestRun, drivers: set[str]) -> None:
    """Charlie's cases fail with the call for Alice named; Bob's, whom nobody swapped, pass."""
    assert run.status == 1
    verdicts = {whose(case): case["verdict"] for case in run.cases}
    assert {driver for driver, _ in verdicts} == drivers
    for (driver, owner), verdict in verdicts.items():
        assert verdict == ("failed" if owner == "charlie" else "passed"), (driver, owner)
    for case in run.failed:
        assert any("alice" in call["call"] for call in case["calls"]), case["calls"]
        assert case["case"] in run.finished["failed_cases"]


@pytest.mark.parametrize("recording", ["warm", "joined"])
def test_recorded_rows_are_those_of_the_database(recording: str, stand: Stand) -> None:
    """By its own word, from before it was switched off; in the cases as in the answers."""
    for target, body in stand.answers[recording]:
        driver, owner = target[1:].split("/")
        assert body == {"owner": owner, "balance": stand.tell_truth(driver, owner)}
    for case in stand.cases(recording):
        driver, owner = case["request"]["path"][1:].split("/")
        body = case["response"]["body"]
        shown = json.loads(body) if isinstance(body, str) else body
        assert shown == {"owner": owner, "balance": stand.tell_truth(driver, owner)}


def test_the_recording_is_warm_and_whole(stand: Stand) -> None:
    assert stand.summaries["warm"]["left_out"] == {}
    assert len(stand.cases("warm")) == 3 * len(DRIVERS) * len(OWNERS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gets_the_right_rows(form: str, stand: Stand) -> None:
    assert_green(stand.run_form(form, is_swapped=False), 3 * len(DRIVERS) * len(OWNERS))


@pytest.mark.parametrize("form", FORMS)
def test_alice_for_charlie_is_red_in_every_form(form: str, stand: Stand) -> None:
    assert_swapped_is_red(stand.run_form(form, is_swapped=True), set(DRIVERS))


@pytest.mark.parametrize("form", ["never_prepared", "all_at_once"])
def test_cases_in_another_order(form: str, stand: Stand) -> None:
    run = stand.run("warm", FORMS[form], "--shuffle", "3")
    assert_green(run, 3 * len(DRIVERS) * len(OWNERS))
    assert [case["case"] for case in run.cases] != [case["name"] for case in stand.cases("warm")]


@pytest.mark.parametrize("form", ["as_recorded", "never_prepared"])
def test_the_last_cases_alone(form: str, stand: Stand) -> None:
    """They were executions of statements that others had prepared (Keploy #4226)."""
    last = {case["request"]["path"]: case["name"] for case in stand.cases("warm")}
    names = [last[f"/{driver}/charlie"] for driver in ("psycopg", "asyncpg")]
    for name in names:
        assert_green(stand.run("warm", FORMS[form], "--case", name), 1)


@pytest.mark.parametrize("form", OTHER_CALLS)
def test_other_redis_commands_are_other_calls(form: str, stand: Stand) -> None:
    names = [case["name"] for case in stand.cases("warm") if case["request"]["path"][1:3] == "re"]
    run = stand.run("warm", {"REDIS_FORM": form}, "--case", names[0], "--case", names[-1])
    assert (run.status, len(run.failed)) == (1, 2), run.explain()


@pytest.mark.parametrize("form", ["as_recorded", "never_prepared", "all_at_once"])
def test_joined_warm_what_was_kept_is_right(form: str, stand: Stand) -> None:
    """Statements prepared before are not guessed: their cases are left out, with the reason."""
    cases = stand.cases("joined")
    kept = {case["request"]["path"] for case in cases}
    left_out = stand.summaries["joined"]["left_out"]
    assert len(cases) + sum(left_out.values()) == len(DRIVERS) * len(OWNERS)
    assert left_out and all(PREPARED_BEFORE in reason for reason in left_out)
    assert kept >= {f"/{driver}/{owner}" for driver in DRIVERS[3:] for owner in OWNERS}
    assert_green(stand.run("joined", FORMS[form]), len(cases))


def test_joined_warm_alice_for_charlie_is_red(stand: Stand) -> None:
    cases = [
        case for case in stand.cases("joined") if case["request"]["path"][-3:] in ("bob", "lie")
    ]
    options = [word for case in cases for word in ("--case", case["name"])]
    run = stand.run("joined", {**FORMS["never_prepared"], "SWAP": "1"}, *options)
    assert_swapped_is_red(run, {case["request"]["path"].split("/")[1] for case in cases})
