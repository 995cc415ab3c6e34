"""What is read of a run file, whole, cut short, or none at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kebpf.report.runfile import RunFileError, parse_run, read_run, shorten_names
from tests.report.builders import make_case, make_failed
from tests.report.runs import write_run

RUN = write_run([make_case("a"), make_failed("b")])


def test_a_whole_run() -> None:
    run = parse_run(RUN, "run.jsonl")
    assert run.is_whole and not run.is_cut
    assert {key: event["verdict"] for key, event in run.cases.items()} == {
        ("shop-1", "a"): "passed",
        ("shop-1", "b"): "failed",
    }


def test_a_run_cut_within_any_line_gives_its_whole_lines() -> None:
    """Its first line must be there: what has less says nothing of a run."""
    first = RUN.index(b"\n") + 1
    for size in range(first, len(RUN)):
        run = parse_run(RUN[:size], "run.jsonl")
        ended = [line for line in RUN[:size].split(b"\n") if line.endswith(b"}")]
        whole = [line for line in ended if line in RUN.splitlines()]
        assert len(run.cases) == sum(b'"case_finished"' in line for line in whole), size
        assert run.is_whole is (len(whole) == RUN.count(b"\n")), size
    assert parse_run(RUN[: first + 9], "run.jsonl").is_cut


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "holds no run"),
        (b"<testsuites/>", "holds no run"),
        (b"\x7fELF\x00\n\n", "line 1: not JSON"),
        (b'{"event": "run_started"\n{}\n', "line 1: not JSON"),
        (b"[1]\n", "line 1: no run event"),
        (b'{"event": "case_finished", "case": "a"}\n', "line 1: the event lacks 'test_set'"),
        (
            b'{"event": "case_finished", "test_set": "s", "case": "a", "verdict": "good"}\n',
            "line 1: 'good' is no verdict",
        ),
    ],
)
def test_no_run(data: bytes, sentence: str) -> None:
    with pytest.raises(RunFileError, match=r"run\.jsonl") as caught:
        parse_run(data, "run.jsonl")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="cannot be read: No such file"):
        read_run(tmp_path / "none")


def test_a_set_is_the_same_by_any_path() -> None:
    assert shorten_names(["kebpf/shop-1", "b"]) == {"kebpf/shop-1": "shop-1", "b": "b"}
    assert shorten_names(["x/a", "y/a"]) == {"x/a": "x/a", "y/a": "y/a"}
    run = write_run([replace(make_case("a"), test_set="/srv/sets/shop-1")])
    assert list(parse_run(run, "r").cases) == [("shop-1", "a")]
