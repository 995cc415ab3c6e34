"""Of a shop under load only what is unique stays, and that passes with everything else off."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.recorder import find_kebpf, with_sources
from examples.services import Services
from tests.e2e.conftest import ShopRecordings, skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, read_set, recording, run_shop_test
from tests.e2e.shop_load import loading

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

REQUESTS = 300
HEALTH = ("GET", "/health", 200)  # left out by the usual rules


@dataclass(frozen=True)
class Busy:
    """The shop under load, of which only what is unique was kept."""

    services: Services
    path: Path
    summary: Entry
    sent: int


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("unique") / "set"
    with Services() as services:
        shop = services.start_shop()
        with (
            recording(path, "--pid", str(shop.pid), "--unique") as summary,
            loading(services.shop_url) as load,
        ):
            load.wait_for_requests(REQUESTS)
        shop.stop()
        assert load.failures == []
        services.stop_backends()
        yield Busy(services, path, summary, load.requests)


def cases_of(path: Path) -> list[Entry]:
    return [entry for entry in read_set(path) if entry["kind"] == "test"]


def dedup(path: Path) -> str:
    command = [*find_kebpf(), "dedup", str(path)]
    done = subprocess.run(
        command, env=with_sources({}), cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_kinds(path: Path) -> Counter[tuple[str, str, int]]:
    """How many cases there are of each method, route and status."""
    found: Counter[tuple[str, str, int]] = Counter()
    for case in cases_of(path):
        parts = case["request"]["path"].split("/")
        route = "/".join("#" if any(map(str.isdigit, part)) else part for part in parts)
        found[case["request"]["method"], route, case["response"]["status"]] += 1
    return found


def test_what_is_unique_passes_with_everything_off(busy: Busy, tmp_path: Path) -> None:
    run = run_shop_test(busy.services, busy.path, tmp_path / "run.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    assert len(run.cases) == busy.summary["test_cases"]


def test_each_request_is_counted_once(busy: Busy) -> None:
    cases = cases_of(busy.path)
    shapes = {case["shape"]: case["seen"] for case in cases}
    assert sum(shapes.values()) == busy.summary["requests"] - sum(busy.summary["left_out"].values())
    assert len(shapes) == busy.summary["unique"]
    assert len(cases) < busy.sent * 0.7


def test_of_a_whole_recording_too(shop_recordings: ShopRecordings, tmp_path: Path) -> None:
    whole = shop_recordings.attached
    shutil.copytree(whole.path, tmp_path / "set")
    assert f": {whole.requests - find_kinds(whole.path)[HEALTH]} requests → " in dedup(
        tmp_path / "set"
    )
    kinds = find_kinds(tmp_path / "set")
    assert kinds.keys() == find_kinds(whole.path).keys() - {HEALTH}
    assert kinds.total() < whole.requests * 0.7
    run = run_shop_test(shop_recordings.services, tmp_path / "set", tmp_path / "run.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
