"""The command line as a whole: what each command is asked, and how each error ends."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kebpf.cli import main as cli
from kebpf.cli.errors import KebpfError
from kebpf.cli.options import Door, RecordOptions, TestOptions

ROOT = Path(__file__).parents[2]


class Calls:
    """Stands in for the command modules and keeps what they were asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.result: Callable[[], int] = lambda: 0
        for module, function in (
            ("record", "record"),
            ("test", "run_test"),
            ("show", "show"),
            ("doctor", "doctor"),
        ):
            fake = ModuleType(f"kebpf.cli.{module}")
            setattr(fake, function, self.take)
            patch.setitem(sys.modules, fake.__name__, fake)

    def take(self, *arguments: Any) -> int:
        self.asked.append(arguments)
        return self.result()

    def raise_error(self, error: BaseException) -> None:
        def result() -> int:
            raise error

        self.result = result


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    make_set(tmp_path / "kebpf" / "shop-1")
    make_set(tmp_path / "kebpf" / "shop-2")
    return Calls(monkeypatch)


def make_set(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "test-set.yaml").write_text("name: x\n")


def test_record_by_pid(calls: Calls) -> None:
    words = "record --pid 7 --pid 8 --pid 7 -o out --name n --duration 2.5 --json"
    assert cli.main([*words.split(), "--keep-events", "f", "--door", "b", "--ring-size", "4"]) == 0
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
            ),
        )
    ]


def test_record_by_command(calls: Calls) -> None:
    words = ["record", "--user", "app", "--", "python", "--pid", "3", "--", "x"]
    assert cli.main(words) == 0
    assert calls.asked == [
        (RecordOptions(command=["python", "--pid", "3", "--", "x"], user="app"),)
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
    assert cli.main([*words.split(), "--user", "app", "--verbose", "-c", "serve"]) == 0
    assert calls.asked[0][0] == TestOptions(
        test_sets=[Path("kebpf/shop-1")],
        command="serve",
        cases=["a", "b"],
        junit=Path("j.xml"),
        json=Path("e.jsonl"),
        delay=1.0,
        timeout=3.0,
        user="app",
        verbose=True,
    )


def test_the_command_line_wins_over_the_file(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "kebpf.yml").write_text(
        "command: serve\ntimeout: 9\ndelay: 2\nuser: app\nnoise: [/body/at]\n"
    )
    assert cli.main(["test", "--delay", "0"]) == 0
    options: TestOptions = calls.asked[0][0]
    assert (options.command, options.timeout, options.delay) == ("serve", 9.0, 0.0)
    assert (options.user, options.noise) == ("app", ["/body/at"])
    assert cli.main(["record"]) == 0
    assert calls.asked[1][0].command == ["/bin/sh", "-c", "serve"]
    assert cli.main(["record", "--pid", "5"]) == 0
    assert (calls.asked[2][0].command, calls.asked[2][0].pids) == ([], [5])


def test_show_and_doctor(calls: Calls) -> None:
    assert cli.main(["show", "shop-2", "--json"]) == 0
    assert cli.main(["doctor", "--json"]) == 0
    assert [asked[:-1] for asked in calls.asked] == [(Path("kebpf/shop-2"), True), (True,)]


def test_the_status_of_a_command_is_the_exit_status(calls: Calls) -> None:
    calls.result = lambda: 1
    assert cli.main(["test", "-c", "serve"]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "missing command"),
        (["recrod"], "no such command 'recrod'"),
        (["test", "--foo"], "no such option: --foo"),
        (["record", "--pid"], "option '--pid' requires an argument"),
        (["record", "--pid", "0"], "invalid value for '--pid'"),
        (["record", "--pid", "x"], "invalid value for '--pid'"),
        (["record"], "nothing to record was named"),
        (["record", "--"], "no command follows the --"),
        (["record", "--pid", "1", "--", "serve"], "give either --pid or -- COMMAND, not both"),
        (["record", "--pid", "1", "--duration", "0"], "invalid value for '--duration'"),
        (["record", "--pid", "1", "--duration", "nan"], "invalid value for '--duration'"),
        (["test"], "how to start the application was not said"),
        (["test", "-c", "a", "--", "b"], "give either -c or -- COMMAND, not both"),
        (["test", "-c", " "], "the command is empty"),
        (["test", "-c", "a", "shop-9"], "there is no test set 'shop-9'"),
        (["test", "-c", "a", "--timeout", "inf"], "invalid value for '--timeout'"),
        (["show", "a", "b"], "got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_a_sentence_and_2(
    calls: Calls, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.lower().startswith(f"kebpf: {sentence}".lower())
    assert len(shown.err.splitlines()) <= 2
    assert calls.asked == []


def test_nothing_recorded_is_4(
    calls: Calls, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["test", "-c", "serve", "-o", "empty"]) == 4
    assert capsys.readouterr().err.startswith("kebpf: there is no test set under empty/\n")


def test_a_wrong_file_is_a_sentence_and_2(
    calls: Calls, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "kebpf.yml").write_text("\ntimeout: soon\n")
    assert cli.main(["test", "-c", "serve"]) == 2
    assert capsys.readouterr().err == (
        "kebpf: kebpf.yml, line 2: timeout must be a number of seconds above 0\n"
    )


def test_an_error_of_kebpf_is_its_sentence_and_status(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.raise_error(KebpfError("there is no process 7", hint="kebpf doctor says more"))
    assert cli.main(["record", "--pid", "7"]) == 3
    assert capsys.readouterr().err == "kebpf: there is no process 7\n  kebpf doctor says more\n"


def test_an_unexpected_error_is_a_sentence_and_3(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.raise_error(ZeroDivisionError("division\nby zero"))
    assert cli.main(["doctor"]) == 3
    assert capsys.readouterr().err == (
        "kebpf: unexpected ZeroDivisionError: division by zero\n"
        "  this is a defect in kebpf; KEBPF_DEBUG=1 shows where it happened\n"
    )
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    assert cli.main(["doctor"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    calls.raise_error(KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == ""


def test_help_and_version(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert cli.main(["--version"]) == 0
    shown = capsys.readouterr()
    assert "Usage: kebpf" in shown.out
    assert "\nkebpf" in shown.out
    for command in ("record", "test", "show", "doctor"):
        assert cli.main([command, "--help"]) == 0
    assert "--door" not in capsys.readouterr().out


def run_kebpf(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", program.replace("KEBPF", f"{sys.executable} -m kebpf.cli.main")],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_that_goes_away_ends_it_quietly_but_is_no_pass(tmp_path: Path) -> None:
    done = run_kebpf("(KEBPF test --help; echo $? >&2) | true", tmp_path)
    assert (done.stderr, done.returncode) == ("141\n", 0)


def test_help_loads_no_command(tmp_path: Path) -> None:
    program = (
        "import sys; from kebpf.cli.main import main; main(['--help']); "
        "loaded = {'rich', 'yaml', 'asyncio', 'kebpf.replay', 'kebpf.recording'}; "
        "sys.exit(','.join(loaded & set(sys.modules)) or 0)"
    )
    done = run_kebpf(f'{sys.executable} -c "{program}"', tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_reference_says_what_the_command_line_takes() -> None:
    page = ROOT / "docs" / "reference" / "cli.md"
    maker = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
    assert page.read_text(encoding="utf-8") == maker["make_reference"](), (
        "docs/make_reference.py writes it anew"
    )
