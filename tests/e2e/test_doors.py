"""Both ways into the kernel record the same: two recorders at once on one shop agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.services import Services
from kebpf.capture.probes import Door, choose_door
from kebpf.kernel.btf import Btf
from tests.e2e.conftest import drive_shop, skip_unless_root
from tests.e2e.kebpf_runs import Entry, read_set, recording

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

DOORS = ("a", "b")
# All that may differ: the two doors see the same call at different moments of it.
WHEN = frozenset({"timing"})
# No tasks: they come by no door, and the recorder that is there first sees more of them.  Each
# recording replaces secrets by others.
PLAIN = ("--no-tasks", "--no-redact")
WHERE_AND_HOW_LONG = frozenset({"path", "seconds"})


def without(entry: Entry, names: frozenset[str]) -> Entry:
    """The entry without what may differ."""
    assert names <= entry.keys()
    return {key: value for key, value in entry.items() if key not in names}


def skip_unless_both() -> None:
    """Door A is there from Linux 6.3 on."""
    if choose_door(Btf.load()) is not Door.A:
        pytest.skip("this kernel has no tracepoint sock_send_length (Linux 6.3)")


@pytest.mark.parametrize("customers", [1, 2])
def test_doors_give_the_same_test_set(
    customers: int, shop_services: Services, tmp_path: Path
) -> None:
    skip_unless_root()
    skip_unless_both()
    shop_services.reset()
    shop = shop_services.start_shop()
    paths = [tmp_path / door for door in DOORS]
    try:
        drive_shop(shop_services, rounds=1, concurrency=1)
        with (
            recording(paths[0], "--pid", str(shop.pid), "--door", "a", *PLAIN) as first,
            recording(paths[1], "--pid", str(shop.pid), "--door", "b", *PLAIN) as second,
        ):
            requests = drive_shop(shop_services, rounds=2, concurrency=customers)
    finally:
        shop.stop()
    assert without(first, WHERE_AND_HOW_LONG) == without(second, WHERE_AND_HOW_LONG)
    assert first["test_cases"] == requests
    ours, theirs = map(read_set, paths)
    assert [without(entry, WHEN) for entry in ours] == [without(entry, WHEN) for entry in theirs]
