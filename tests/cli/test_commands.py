"""What each command is asked, for a command line and a ``kebpf.yml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.cli import main as cli
from kebpf.cli.options import Door, RecordOptions, TestOptions
from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut
from kebpf.recording.errors import TestSetError
from kebpf.recording.redaction.rules import Rules
from kebpf.replay.noise import NoiseRule
from tests.cli.builders import Calls, make_calls


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    return make_calls(monkeypatch, tmp_path)


def test_record_by_pid(calls: Calls) -> None:
    words = "record --pid 7 --pid 8 --pid 7 -o out --name n --duration 2.5 --json"
    hidden = ["--door", "b", "--ring-size", "4"]
    assert cli.main([*words.split(), "--keep-events", "f", "--no-redact", *hidden]) == 0
    assert calls.asked == [
        (
            RecordOptions(
                pids=[7, 8],
                output=Path("out"),
                name="n",
                duration=2.5,
                as_json=True,
                keep_events=Path("f"),
                door=Door.B,
                ring_size=4,
                redact=None,
            ),
        )
    ]


def test_record_what_is_unique(calls: Calls, tmp_path: Path) -> None:
    assert cli.main(["record", "--pid", "7", "--unique"]) == 0
    (tmp_path / "kebpf.yml").write_text("unique: true\nleave_out: [/internal/*]\n")
    assert cli.main(["record", "--pid", "7"]) == 0
    by_option, by_file = (one[0] for one in calls.asked)
    assert by_option == RecordOptions(
        pids=[7], is_unique=True, leave_out=list(DEFAULTS), redact=Rules()
    )
    rules = [LeaveOut(path="/internal/*")]
    assert by_file == RecordOptions(pids=[7], is_unique=True, leave_out=rules, redact=Rules())


def test_record_by_what_runs_it(calls: Calls) -> None:
    for words in ("--cgroup a.slice/b", "--unit shop", "--container 5e5e"):
        assert cli.main(["record", *words.split()]) == 0
    assert [one[0] for one in calls.asked] == [
        RecordOptions(cgroup=Path("a.slice/b"), redact=Rules()),
        RecordOptions(unit="shop", redact=Rules()),
        RecordOptions(container="5e5e", redact=Rules()),
    ]


def test_record_with_what_redaction_is_to_find(calls: Calls) -> None:
    Path("kebpf.yml").write_text("redact:\n  names: internal_id\n  keep: [csrf]\n")
    assert cli.main(["record", "--pid", "7"]) == 0
    assert cli.main(["record", "--pid", "7", "--no-redact"]) == 0
    Path("kebpf.yml").write_text("redact: false\n")
    assert cli.main(["record", "--pid", "7"]) == 0
    assert cli.main(["record", "--pid", "7", "--redact"]) == 0
    rules = Rules(names=["internal_id"], keep=["csrf"])
    assert [one[0].redact for one in calls.asked] == [rules, None, None, Rules()]


def test_record_redacts_unless_it_is_told_otherwise(calls: Calls) -> None:
    for words in ((), ("--redact",), ("--no-redact",)):
        assert cli.main(["record", "--pid", "7", *words]) == 0
    Path("kebpf.yml").write_text("duration: 60\n")
    assert cli.main(["record", "--pid", "7"]) == 0
    assert [one[0].redact for one in calls.asked] == [Rules(), Rules(), None, Rules()]


def test_what_was_sent_is_not_kept_as_it_was_while_it_is_redacted(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("--redact",)):
        assert cli.main(["record", "--pid", "7", *words, "--keep-events", "f"]) == 2
        told = capsys.readouterr().err
        assert "secrets included" in told and "--no-redact" in told
    assert calls.asked == []


def test_record_with_filters(calls: Calls) -> None:
    words = "record --pid 7 --port 80 --port 443 --port 80 --exclude-port 6379 --inbound-only"
    assert cli.main(words.split()) == 0
    assert calls.asked[0][0] == RecordOptions(
        pids=[7], ports=[80, 443], excluded_ports=[6379], is_inbound_only=True, redact=Rules()
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--pid 1 --unit shop", "give one kind of target only, not --pid and --unit"),
        ("--cgroup a --container b", "not --cgroup and --container"),
        ("--unit shop -- serve", "not --unit and -- COMMAND"),
        ("--pid 1 --cgroup a --unit b", "not --pid and --cgroup and --unit"),
        ("", "nothing to record was named"),
        ("--pid 1 --port 80 --exclude-port 80", "port 80 is both to be recorded and to be left"),
        ("--pid 1 --port 0", "--port"),
        ("--pid 1 --exclude-port 65536", "--exclude-port"),
    ],
)
def test_targets_and_filters_that_do_not_go_together(
    calls: Calls, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert cli.main(["record", *words.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert calls.asked == []


def test_record_by_command(calls: Calls) -> None:
    words = ["record", "--user", "app", "--", "python", "--pid", "3", "--", "x"]
    assert cli.main(words) == 0
    assert calls.asked == [
        (RecordOptions(command=["python", "--pid", "3", "--", "x"], user="app", redact=Rules()),)
    ]


@pytest.mark.parametrize(
    ("words", "sets", "command"),
    [
        (["-c", "python -m shop"], ["shop-1", "shop-2"], "python -m shop"),
        (["-c", "python -m shop", "shop-2"], ["shop-2"], "python -m shop"),
        (["shop-2", "shop-1", "-c", "serve"], ["shop-2", "shop-1"], "serve"),
        (["shop-1", "--", "serve", "shop-2"], ["shop-1"], ["serve", "shop-2"]),
        (
            ["--", "serve", "-c", "x", "--case"],
            ["shop-1", "shop-2"],
            ["serve", "-c", "x", "--case"],
        ),
    ],
)
def test_test_sets_and_command_are_told_apart(
    calls: Calls, words: list[str], sets: list[str], command: str | list[str]
) -> None:
    assert cli.main(["test", *words]) == 0
    options: TestOptions = calls.asked[0][0]
    assert [path.name for path in options.test_sets] == sets
    assert options.command == command


def test_test_takes_all_its_options(calls: Calls) -> None:
    words = "test shop-1 --case a --case b --junit j.xml --json e.jsonl --delay 1 --timeout 3"
    more = [
        "--shuffle",
        "7",
        "--alone",
        "--isolated",
        "--jobs",
        "4",
        "--rootless",
        "--user",
        "app",
        "--verbose",
        "-x",
        "-c",
        "serve",
    ]
    assert cli.main([*words.split(), *more]) == 0
    assert calls.asked[0][0] == TestOptions(
        test_sets=[Path("kebpf/shop-1")],
        command="serve",
        cases=["a", "b"],
        shuffle=7,
        is_alone=True,
        is_isolated=True,
        jobs=4,
        is_rootless=True,
        junit=Path("j.xml"),
        json=Path("e.jsonl"),
        delay=1.0,
        timeout=3.0,
        user="app",
        verbose=True,
        is_failing_fast=True,
    )


@pytest.mark.parametrize(
    "words", ["--shuffle shop-1 -c serve", "shop-1 --shuffle -c serve", "shop-1 -c serve --shuffle"]
)
def test_shuffle_without_a_number_draws_a_seed(calls: Calls, words: str) -> None:
    assert cli.main(["test", *words.split()]) == 0
    options: TestOptions = calls.asked[0][0]
    assert [path.name for path in options.test_sets] == ["shop-1"]
    assert options.shuffle is not None


def test_the_command_line_wins_over_the_file(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "kebpf.yml").write_text(
        "command: serve\ntimeout: 9\ndelay: 2\nuser: app\nnoise: [/body/at]\n"
    )
    assert cli.main(["test", "--delay", "0"]) == 0
    options: TestOptions = calls.asked[0][0]
    assert (options.command, options.timeout, options.delay) == ("serve", 9.0, 0.0)
    assert (options.user, options.noise) == ("app", [NoiseRule("/body/at")])
    assert cli.main(["record"]) == 0
    assert calls.asked[1][0].command == ["/bin/sh", "-c", "serve"]
    assert cli.main(["record", "--pid", "5"]) == 0
    assert (calls.asked[2][0].command, calls.asked[2][0].pids) == ([], [5])


def test_show_and_doctor(calls: Calls) -> None:
    assert cli.main(["show", "shop-2", "--json"]) == 0
    assert cli.main(["doctor", "--json"]) == 0
    assert [asked[:-1] for asked in calls.asked] == [(Path("kebpf/shop-2"), True), (True,)]


def test_a_set_that_cannot_be_read_is_a_sentence_and_3(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.raise_error(TestSetError("kebpf/shop-1 is not whole"))
    assert cli.main(["show", "shop-1"]) == 3
    assert capsys.readouterr().err == "kebpf: kebpf/shop-1 is not whole\n"
