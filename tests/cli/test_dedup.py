"""``kebpf dedup`` as a person calls it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kebpf.cli import main as cli
from kebpf.recording.store import TestSet, TestSetWriter
from tests.recording.builders import make_manifest
from tests.recording.dedup.exchanges import make_shapes, make_traffic

REQUESTS = 90


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of one shape."""
    monkeypatch.chdir(tmp_path)
    choice = random.Random(2)
    writer = TestSetWriter(tmp_path / "kebpf" / "shop-1")
    for _, case, mocks in make_traffic(make_shapes(1, choice), REQUESTS, choice):
        for mock in mocks:
            writer.add_mock(mock)
        writer.add_case(case)
    writer.commit(make_manifest())
    return tmp_path / "kebpf" / "shop-1"


def count_cases(folder: Path) -> int:
    return len(TestSet.open(folder).cases())


def test_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dedup", "shop-1"]) == 0
    kept = count_cases(folder)
    assert kept <= 3
    said = capsys.readouterr().out
    assert said.startswith(f"shop-1: 90 requests → 1 unique; {kept} of 90 test cases and ")
    assert said.endswith(" stay\n")


def test_a_dry_run_shows_routes_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dedup", "shop-1", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("       90 × ") and lines[0].endswith("/{}")
    assert "would stay" in lines[-1]
    assert count_cases(folder) == REQUESTS


def test_into_another_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dedup", "shop-1", "-o", "kebpf/small"]) == 0
    assert "shop-1 → kebpf/small: 90 requests" in capsys.readouterr().out
    assert (count_cases(folder), count_cases(folder.parent / "small") <= 3) == (REQUESTS, True)


def test_rules_of_kebpf_yml_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("kebpf.yml").write_text("leave_out: ['/api/*']\n")
    assert cli.main(["dedup", "shop-1"]) == 0
    assert "left out: 90 test cases: leave_out: /api/*" in capsys.readouterr().out
    assert count_cases(folder) == 0


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["none"], 2, "there is no test set 'none'"),
        (["shop-1", "shop-1", "-o", "kebpf/shop-1"], 3, "already exists"),
        (["shop-1", "kebpf/other", "-o", "new"], 2, "-o NEW is for one test set"),
    ],
)
def test_what_is_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    sentence: str,
) -> None:
    TestSetWriter(folder.parent / "other").commit(make_manifest())
    assert cli.main(["dedup", *words]) == status
    assert sentence in capsys.readouterr().err
    assert count_cases(folder) == REQUESTS
