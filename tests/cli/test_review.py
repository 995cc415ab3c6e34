"""A review as a person at a terminal does it; the oracle is what lies on the disk afterwards."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from kebpf.cli import main as cli
from kebpf.cli.config import load_config
from kebpf.replay.noise import NoiseRule
from tests.cli.reviewed import Reviewed, write_reviewed

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from kebpf.cli.main import main; sys.exit(main())"
EVERYTHING_LEFT = {"one": ["/body/n", "/body/extra"], "two": ["/body/n"], "three": []}


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewed:
    monkeypatch.chdir(tmp_path)
    return write_reviewed(tmp_path)


def review(reviewed: Reviewed, keys: Sequence[str], *words: str) -> tuple[int, str]:
    """At a terminal that knows nothing, each key typed when it is asked for."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "review", "--run", str(reviewed.run), *words],
        cwd=reviewed.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    typed = list(keys)
    try:
        while True:
            piece = _read(master)
            if not piece:
                break
            shown += piece
            if shown.endswith((b"[?] ", b"]: ", b"reason: ")):
                key = typed.pop(0) if typed else "q"
                os.write(master, f"{key}\n".encode())
                shown += b"\n"
        return process.wait(60), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""


def test_accept_all_that_is_asked(reviewed: Reviewed) -> None:
    before = reviewed.read()
    status, shown = review(reviewed, ["a", "a", "a"])
    assert status == 0, shown
    assert reviewed.left() == {"one": [], "two": [], "three": []}
    after = reviewed.read()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"one.yaml", "two.yaml"}
    assert "(1 of 3) one  GET /" in shown and "/body/n: recorded 1, came 2" in shown
    assert "3 accepted; changed in shop: 2 cases" in shown


def test_a_change_is_a_small_one(reviewed: Reviewed) -> None:
    path = reviewed.set_folder / "tests" / "two.yaml"
    before = path.read_text().splitlines()
    review(reviewed, ["s", "s", "a"])
    after = path.read_text().splitlines()
    assert len(before) == len(after)
    both = zip(before, after, strict=True)
    assert [new.strip() for old, new in both if old != new] == ["n: 2"]


def test_reject_and_skip_leave_it(reviewed: Reviewed) -> None:
    before = reviewed.read()
    status, shown = review(reviewed, ["r", "s", "r"])
    assert status == 1 and reviewed.read() == before
    assert "0 accepted, 2 rejected, 1 skipped" in shown


def test_quit_keeps_what_was_decided(reviewed: Reviewed) -> None:
    status, _ = review(reviewed, ["a", "q"])
    assert status == 1
    assert reviewed.left() == {"one": ["/body/extra"], "two": ["/body/n"], "three": []}


def test_undo_takes_the_last_decision_back(reviewed: Reviewed) -> None:
    status, shown = review(reviewed, ["u", "a", "u", "r", "a", "u", "s", "r"])
    assert status == 1 and "nothing was decided yet" in shown
    assert reviewed.left() == EVERYTHING_LEFT
    assert "0 accepted, 2 rejected, 1 skipped" in shown


def test_all_of_a_case_and_all_alike(reviewed: Reviewed) -> None:
    assert review(reviewed, ["c", "q"])[0] == 1
    assert reviewed.left() == {"one": [], "two": ["/body/n"], "three": []}


def test_all_alike(reviewed: Reviewed) -> None:
    status, shown = review(reviewed, ["l", "q"])
    assert status == 1 and "accepted 2 differences" in shown
    assert reviewed.left() == {"one": ["/body/extra"], "two": [], "three": []}


def test_noise_is_written_with_its_reason(reviewed: Reviewed) -> None:
    (reviewed.folder / "kebpf.yml").write_text("# ours\ntimeout: 5  # seconds\n")
    before = reviewed.read()
    status, shown = review(reviewed, ["n", "", "counts the starts", "a"])
    assert status == 0, shown
    assert "that covers 1 more difference" in shown
    assert reviewed.read()["two.yaml"] == before["two.yaml"]
    assert load_config(reviewed.folder).noise == [NoiseRule("/body/n", "counts the starts")]
    text = (reviewed.folder / "kebpf.yml").read_text()
    assert text.startswith("# ours\ntimeout: 5  # seconds\nnoise:\n")


def test_noise_without_a_reason_is_none(reviewed: Reviewed) -> None:
    _, shown = review(reviewed, ["n", "", "", "q"])
    assert "noise needs a reason" in shown
    assert not (reviewed.folder / "kebpf.yml").exists()


def test_a_key_that_is_none_shows_the_keys(reviewed: Reviewed) -> None:
    _, shown = review(reviewed, ["x", "", "q"])
    assert shown.count("u  undo the last decision") == 2


def test_a_run_is_reviewed_once(reviewed: Reviewed) -> None:
    """The cases are others now, so the run no longer says what they lack."""
    review(reviewed, ["a", "q"])
    status, shown = review(reviewed, ["a", "q"])
    assert status == 1 and "the case was changed since that run: run it again" in shown


def test_accept_all_asks_nothing(reviewed: Reviewed, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["review", "--run", str(reviewed.run), "--accept-all"]) == 0
    assert reviewed.left() == {"one": [], "two": [], "three": []}
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "accepted      one  /body/n changed: recorded 1, came 2",
        "accepted      one  /body/extra: extra, came true",
        "accepted      two  /body/n changed: recorded 1, came 2",
    ]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("t*", {"one": ["/body/n", "/body/extra"], "two": [], "three": []}),
        ("*:/body/n", {"one": ["/body/extra"], "two": [], "three": []}),
        ("one:/body/e*", {"one": ["/body/n"], "two": ["/body/n"], "three": []}),
        ("nothing", EVERYTHING_LEFT),
    ],
)
def test_accept_by_pattern(pattern: str, left: dict[str, list[str]], reviewed: Reviewed) -> None:
    assert cli.main(["review", "--run", str(reviewed.run), "--accept", pattern]) == 1
    assert reviewed.left() == left


def test_a_run_that_was_cut_short_is_reviewed_as_far_as_it_goes(
    reviewed: Reviewed, capsys: pytest.CaptureFixture[str]
) -> None:
    data = reviewed.run.read_bytes()
    reviewed.run.write_bytes(data[: data.index(b'"case": "two"')])
    assert cli.main(["review", "--run", str(reviewed.run), "--accept-all"]) == 0
    assert reviewed.left() == {"one": [], "two": ["/body/n"], "three": []}
    assert "was cut short" in capsys.readouterr().out


def test_what_is_wrong_is_one_sentence(
    reviewed: Reviewed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review"]) == 2
    assert cli.main(["review", "--run", "none.jsonl"]) == 2
    assert cli.main(["review", "--run", str(reviewed.run), "-c", "serve"]) == 2
    assert cli.main(["review", "other", "--run", str(reviewed.run)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kebpf:")]
    assert lines == [
        "kebpf: what to review was not said",
        "kebpf: none.jsonl cannot be read: No such file or directory",
        "kebpf: --run says what was run: it goes without a command",
        "kebpf: there is no test set 'other' (under kebpf/ there are: shop)",
    ]


def test_a_run_of_an_older_kebpf_is_refused(
    reviewed: Reviewed, capsys: pytest.CaptureFixture[str]
) -> None:
    text = reviewed.run.read_text().replace('"recorded": "', '"was": "')
    reviewed.run.write_text(text.replace('"revision"', '"was_too"'))
    assert cli.main(["review", "--run", str(reviewed.run), "--accept-all"]) == 3
    assert "written by an older kebpf: run it again" in capsys.readouterr().err
    assert reviewed.left() == EVERYTHING_LEFT


def test_files_stay_as_yaml_that_kebpf_and_others_read(reviewed: Reviewed) -> None:
    cli.main(["review", "--run", str(reviewed.run), "--accept-all"])
    text = (reviewed.set_folder / "test-set.yaml").read_text()
    assert yaml.safe_load(text)["test_cases"] == 3
