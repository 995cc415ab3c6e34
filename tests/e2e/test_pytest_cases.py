"""``pytest --kebpf`` on the shop: the verdicts are those of ``kebpf test``, with workers too."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from examples.services import EXAMPLES
from tests.e2e.conftest import ShopRecordings
from tests.e2e.kebpf_runs import run_shop_test
from tests.pytest_plugin.runs import PytestRun, run_pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(400),
]

OUTCOMES = {"passed": "PASSED", "failed": "FAILED", "errored": "FAILED", "skipped": "SKIPPED"}
OF_NO_CASE = ("calls of no case", "the run")


def run_cases(recordings: ShopRecordings, folder: Path, bug: str, *words: str) -> PytestRun:
    services, path = recordings.services, recordings.alone.path
    command = f"cd {shlex.quote(str(EXAMPLES))} && exec {services.shop_command}"
    given = ["--kebpf", str(path), "--kebpf-command", command, *words]
    return run_pytest(folder, *given, environment={**services.shop_environment, "SHOP_BUG": bug})


@pytest.mark.parametrize("bug", ["", "wrong_amount"])
def test_the_verdicts_are_those_of_kebpf_test(
    shop_recordings: ShopRecordings, tmp_path: Path, bug: str
) -> None:
    services, path = shop_recordings.services, shop_recordings.alone.path
    plain = run_shop_test(services, path, tmp_path / "events.jsonl", bug)
    wanted = {case["case"]: [OUTCOMES[case["verdict"]]] for case in plain.cases}
    assert wanted
    for words in ((), ("-n", "3")):
        done = run_cases(shop_recordings, tmp_path, bug, *words)
        found = {name: said for name, said in done.outcomes.items() if name not in OF_NO_CASE}
        assert found == wanted, done.output + done.said
        assert bool(plain.finished["findings"]) == any(one in done.outcomes for one in OF_NO_CASE)
        assert done.status == plain.status
