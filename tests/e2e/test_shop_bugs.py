"""Every regression of the shop fails its recording, first where it first shows, for what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.shop.bugs import BUGS, Difference
from tests.e2e.conftest import ShopRecordings
from tests.e2e.kebpf_runs import Entry, run_shop_test

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

PARTS = {
    "/status": Difference.STATUS,
    "/headers": Difference.HEADER,
    "/body": Difference.BODY,
}
CALLS = {
    "missing": Difference.MISSING_CALL,
    "extra": Difference.EXTRA_CALL,
    "repeated": Difference.EXTRA_CALL,
    "changed": Difference.CHANGED_CALL,
    "reordered": Difference.CHANGED_CALL,
}


def is_case_of(case: Entry, method: str, route: str) -> bool:
    """Whether a case is a request of a route such as ``/orders/{order_id}``."""
    found_method, _, url = case["request"].partition(" ")
    pattern = re.sub(r"\{\w+\}", "[^/]+", route)
    return found_method == method and re.fullmatch(pattern, urlsplit(url).path) is not None


def list_differences(case: Entry) -> Iterator[Difference]:
    """What a case is said to differ in."""
    for mismatch in case["mismatches"]:
        part = "/" + mismatch["path"].split("/")[1]
        if part in PARTS:
            yield PARTS[part]
    for call in case["calls"]:
        yield CALLS[call["kind"]]


@pytest.mark.parametrize("name", BUGS)
def test_regression_is_found(name: str, shop_recordings: ShopRecordings, tmp_path: Path) -> None:
    bug = BUGS[name]
    path = shop_recordings.alone.path
    run = run_shop_test(shop_recordings.services, path, tmp_path / "events.jsonl", bug=name)
    assert run.status == 1, run.explain()
    assert len(run.cases) == shop_recordings.alone.requests
    first = run.failed[0]
    assert is_case_of(first, bug.method, bug.route), run.explain()
    assert bug.difference in set(list_differences(first)), run.explain()
    assert first["case"] in run.finished["failed_cases"]
