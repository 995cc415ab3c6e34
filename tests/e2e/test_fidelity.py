"""The shop with 32 requests in flight passes in any order; no call is given to a wrong request.

A sample of what `make fidelity` does to every application.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.services import Services
from tests.e2e.conftest import skip_unless_root
from tests.e2e.crowd import Trace, judge, record_crowd
from tests.e2e.fidelity import explain, spread
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import read_set
from tests.e2e.subjects import SHOP_GUESTS, shop_recorded

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(600),
]

ALONE = 6  # cases
MOST_OPEN = 0.1  # of the calls: those made in threads of their own


def test_the_shop_in_a_crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_root()
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    monkeypatch.delenv("SHOP_BUG", raising=False)
    path = tmp_path / "crowd"
    with Services() as services:
        summary, requests = record_crowd(services, path, SHOP_GUESTS)
        services.stop_backends()
        assert (summary["test_cases"], summary["left_out"]) == (requests, {})
        entries = read_set(path)
        judgement = judge(entries, Trace(path.with_suffix(".trace")))
        assert not judgement.wrong
        assert not judgement.excluded
        assert judgement.unknown <= 0.05 * judgement.total, judgement.describe()
        assert judgement.open_.total() <= MOST_OPEN * judgement.total, judgement.describe()
        shop, report = shop_recorded(services, path), tmp_path / "events.jsonl"
        names = [entry["name"] for entry in entries if entry["kind"] == "test"]
        alone = [word for name in spread(names, ALONE) for word in ("--case", name)]
        for options in ([], ["--shuffle=1"], ["--alone", *alone]):
            run = shop.replay(report, *options)
            assert run.status == 0, "\n".join([str(options), *explain(run)])
