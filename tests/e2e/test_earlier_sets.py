"""A set that an earlier kebpf recorded still replays, and a review writes it in today's form.

``recorded_by_earlier/shop`` is of format 1 as it was before sets named what was recorded, counted
connections given up, or were verified: those fields are not there.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from kebpf.recording.amendment import AmendedSet
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet
from tests.cli.recorders import run_kebpf

HERE = Path(__file__).parent
SHOP = HERE / "recorded_by_earlier" / "shop"
RECORDED_PORTS = {"REDIS_PORT": "7391"}
NEW_FIELDS = ("target:", "filters:", "given_up_bytes:", "set_apart:")


def test_it_lacks_what_is_written_today() -> None:
    text = (SHOP / "test-set.yaml").read_text()
    assert not [field for field in NEW_FIELDS if field in text]


@pytest.mark.kernel
@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0, reason="a test run needs root")
def test_it_replays() -> None:
    """Redis is not there; the application is given the address it was recorded with."""
    words = (sys.executable, str(HERE / "counting.py"), "7392")
    done = run_kebpf("test", str(SHOP), "--", *words, environment=RECORDED_PORTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 0 failed" in done.stdout
    assert "4 of 4 mocks used" in done.stdout


def test_it_is_written_in_todays_form_once_it_is_changed(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder)
    test_set = TestSet.open(folder)
    amended = AmendedSet(test_set)
    amended.drop_mock("mock-000004")
    rewrite_set(test_set, amended)
    again = TestSet.open(folder)
    again.check_calls()
    assert [len(case.calls) for case in again.cases()] == [2, 1]
    assert (folder / "test-set.yaml").read_text() == write_manifest(again.manifest)
    assert "filters:" in (folder / "test-set.yaml").read_text()
