"""A few mutants of the shop: each must be caught; `make mutants` tries them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.mutants.campaign import Campaign, Fate, Outcome, choose_sample
from tests.mutants.results import find_unexplained, read_survivors

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(400),
]

SAMPLE = 8


def test_a_sample_of_mutants_is_caught(tmp_path: Path) -> None:
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    told: list[Outcome] = []
    campaign = Campaign("shop", tmp_path / "shop", 2, told.append)
    outcomes = [one for one in campaign.run(choose_sample(SAMPLE)) if one in told]
    assert len(outcomes) == SAMPLE
    assert [
        (one.mutant.name, one.why) for one in find_unexplained(outcomes, read_survivors())
    ] == []
    assert sum(one.fate is Fate.CAUGHT for one in outcomes) > SAMPLE / 2
