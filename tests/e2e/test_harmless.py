"""``kill -9`` of the recorder, whenever it comes, costs the shop nothing and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.processes import Process
from examples.recorder import launch_recorder
from examples.services import Services
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kernel_objects import ask_bpftool, holds_links, list_held, list_objects
from tests.e2e.shop_load import Load, loading

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.005
REPLAY_GROUP = "kebpf-test-"


def wait_until(is_so: Callable[[], bool]) -> None:
    """Looks again and again: neither the kernel nor a recorder that is starting tells."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(LOOK_SECONDS)


def list_children(pid: int) -> list[int]:
    """The processes that a process has started, as the recorder does to load its programs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
        except OSError:  # ended meanwhile
            continue
        if int(parent) == pid:
            found.append(int(path.parent.name))
    return found


def while_loading(recorder: Process, _load: Load) -> None:
    """Its loader compiles."""
    wait_until(lambda: bool(list_children(recorder.pid)))


def while_attaching(recorder: Process, _load: Load) -> None:
    """Its first probe is there, perhaps not its last."""
    wait_until(lambda: holds_links(recorder.pid))


def at_the_first_line(recorder: Process, _load: Load) -> None:
    """It has just begun."""
    recorder.wait_for(lambda line: line.startswith("recording "))


def amid_the_recording(recorder: Process, load: Load) -> None:
    """It has seen a hundred requests."""
    at_the_first_line(recorder, load)
    load.wait_for_requests(100)


def while_ending(recorder: Process, load: Load) -> None:
    """It was told to end and has let go of its probes, but is still writing."""
    amid_the_recording(recorder, load)
    os.kill(recorder.pid, signal.SIGINT)
    wait_until(lambda: not holds_links(recorder.pid))


MOMENTS = (while_loading, while_attaching, at_the_first_line, amid_the_recording, while_ending)


def list_cgroup_programs() -> set[str]:
    """What is attached to any control group but those that replays make for themselves."""
    return {
        json.dumps(one, sort_keys=True)
        for one in ask_bpftool("cgroup", "tree")
        if not Path(str(one["cgroup"])).name.startswith(REPLAY_GROUP)
    }


def list_programs() -> set[tuple[str, int]]:
    """The programs bpftool lists, as `list_objects` names them."""
    return {("prog", int(str(one["id"]))) for one in ask_bpftool("prog", "list")}


@pytest.fixture(scope="module")
def busy_shop(shop_services: Services) -> Iterator[tuple[Process, Load]]:
    """A shop that is never without customers, from before the first recorder to after the last."""
    skip_unless_root()
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    shop_services.reset()
    shop = shop_services.start_shop()
    try:
        with loading(shop_services.shop_url) as load:
            yield shop, load
    finally:
        shop.stop()
    assert load.failures == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_costs_nothing_and_leaves_nothing(
    moment: Callable[[Process, Load], None], busy_shop: tuple[Process, Load], tmp_path: Path
) -> None:
    shop, load = busy_shop
    load.wait_for_requests(20)
    before, attached_before = list_objects(), list_cgroup_programs()
    path = tmp_path / "killed"
    recorder = launch_recorder(path, "--pid", str(shop.pid))
    moment(recorder, load)
    held, children = list_held(recorder.pid), list_children(recorder.pid)
    assert not held & before
    assert recorder.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    wait_until(lambda: not held & list_objects())
    load.wait_for_requests(100)
    assert load.failures == []
    assert shop.exit_status is None
    assert not held & list_programs()
    assert list_cgroup_programs() <= attached_before
    assert list(tmp_path.iterdir()) == [], "nor half a test set, under any name"
