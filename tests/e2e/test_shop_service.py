"""The example shop itself: works on real servers, and each of its regressions can be seen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from examples.services import Services
from examples.shop.bugs import BUGS
from examples.shop.drive import drive, drive_round
from tests.e2e.shop_trace import (
    DiffersError,
    Step,
    TracingClient,
    find_differences,
    has_route,
    watching,
)

pytestmark = [pytest.mark.e2e, pytest.mark.postgres, pytest.mark.redis]

REQUESTS_A_ROUND = 48


def trace_round(services: Services, bug: str = "", healthy: list[Step] | None = None) -> list[Step]:
    """A round on a fresh shop and fresh data, until it differs from a healthy one if given."""
    services.reset()
    shop = services.start_shop(bug)
    with watching(services) as watch:
        client = TracingClient(services.shop_url, is_quiet=True, watch=watch, healthy=healthy or [])
        try:
            drive_round(client, random.Random("a round"))
        except DiffersError:
            pass
        finally:
            client.close()
            shop.stop()
    return client.steps


@pytest.fixture(scope="module")
def healthy(shop_services: Services) -> list[Step]:
    """The steps of a round without a regression."""
    return trace_round(shop_services)


def test_every_answer_is_as_expected_also_with_many_customers(shop_services: Services) -> None:
    shop_services.reset()
    shop = shop_services.start_shop()
    before = shop_services.count_calls()
    total = drive(shop_services.shop_url, rounds=2, concurrency=4, is_quiet=True)
    after = shop_services.count_calls()
    assert shop.exit_status is None
    shop.stop()
    assert total == {"requests": 2 * 4 * REQUESTS_A_ROUND, "unexpected": 0}
    assert all(after[name] > before[name] for name in ("postgres", "redis", "http"))


def test_is_silent_without_requests(shop_services: Services) -> None:
    shop = shop_services.start_shop()
    with watching(shop_services) as watch:
        before = shop_services.count_calls()
        assert [call for call in watch.take_calls() if not call.startswith("redis")] == []
        assert shop_services.count_calls() == before
    shop.stop()


def test_same_round_twice_differs_in_nothing(shop_services: Services, healthy: list[Step]) -> None:
    assert trace_round(shop_services) == healthy
    assert len(healthy) == REQUESTS_A_ROUND


@pytest.mark.parametrize("name", BUGS)
def test_regression_shows_first_where_the_table_says(
    name: str, shop_services: Services, healthy: list[Step]
) -> None:
    bug = BUGS[name]
    steps = trace_round(shop_services, name, healthy)
    differences = find_differences(healthy[len(steps) - 1], steps[-1])
    assert differences, "nothing differs"
    assert steps[-1].method == bug.method
    assert has_route(steps[-1], bug.route), steps[-1].path
    assert bug.difference in differences


def test_unknown_regression_is_refused(shop_services: Services) -> None:
    with pytest.raises(Exception, match="SHOP_BUG=nonsense is none of"):
        shop_services.start_shop("nonsense")


def test_scratch_folder_belongs_to_these_servers_alone(shop_services: Services) -> None:
    assert Path(shop_services.scratch, "postgres", "postmaster.pid").exists()
    with shop_services.connect_postgres() as connection:
        found = connection.execute("SHOW data_directory").fetchone()
    assert found == (str(shop_services.scratch / "postgres"),)
