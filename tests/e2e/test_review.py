"""An intended change is accepted: the new version passes, the old fails on exactly those cases."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from examples.recorder import find_kebpf, with_sources
from examples.services import EXAMPLES
from tests.e2e.conftest import ShopRecordings
from tests.e2e.kebpf_runs import run_shop_test

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

ACCEPTED = ("wrong_id", "wrong_amount", "lost_insert")


def review(recordings: ShopRecordings, path: Path, bug: str) -> tuple[int, str]:
    services = recordings.services
    done = subprocess.run(
        [*find_kebpf(), "review", str(path), "--accept-all", "-c", services.shop_command],
        cwd=EXAMPLES,
        env=with_sources({**services.shop_environment, "SHOP_BUG": bug}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def copy_set(recordings: ShopRecordings, folder: Path) -> Path:
    path = folder / "shop"
    shutil.copytree(recordings.alone.path, path)
    return path


@pytest.mark.parametrize("bug", ACCEPTED)
def test_what_was_accepted(bug: str, shop_recordings: ShopRecordings, tmp_path: Path) -> None:
    """What fails is known by a run of the new version before: its names are the oracle."""
    services, path = shop_recordings.services, copy_set(shop_recordings, tmp_path)
    before = run_shop_test(services, path, tmp_path / "before.jsonl", bug=bug)
    status, shown = review(shop_recordings, path, bug)
    assert status == 0, shown
    new = run_shop_test(services, path, tmp_path / "new.jsonl", bug=bug)
    assert (new.status, new.failed) == (0, []), new.explain()
    old = run_shop_test(services, path, tmp_path / "old.jsonl")
    assert {case["case"] for case in old.failed} == {case["case"] for case in before.failed}


def test_what_cannot_be_accepted(shop_recordings: ShopRecordings, tmp_path: Path) -> None:
    """Another SQL text: nobody knows its answer, so the set stays as it is."""
    path = copy_set(shop_recordings, tmp_path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    status, shown = review(shop_recordings, path, "changed_sql")
    assert status == 1
    assert "it is another operation, and no answer to it was recorded: record anew" in shown
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
