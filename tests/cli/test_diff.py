"""The exit status and the one sentence of ``kebpf diff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kebpf.cli import main as cli
from tests.report.builders import make_case, make_failed
from tests.report.runs import write_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    for name, case in (("good", make_case("a")), ("bad", make_failed("a"))):
        (tmp_path / name).write_bytes(write_run([case]))
    return str(tmp_path / "good"), str(tmp_path / "bad")


def test_the_exit_status_says_whether_verdicts_differ(runs: tuple[str, str]) -> None:
    good, bad = runs
    assert cli.main(["diff", good, good]) == 0
    assert cli.main(["diff", bad, bad]) == 0
    assert cli.main(["diff", good, bad]) == 1


def test_json_is_one_object(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "--json", *runs]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["newly_failing"][0]["case"] == "a"


@pytest.mark.parametrize("text", ["", "<xml/>\n", "{}\n"])
def test_what_is_no_run_is_one_sentence(
    text: str, runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_text(text)
    assert cli.main(["diff", runs[0], str(other)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kebpf: {other}")


def test_a_run_is_missing(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", runs[0]]) == 2
    assert "missing argument" in capsys.readouterr().err
