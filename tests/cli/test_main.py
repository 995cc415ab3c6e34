"""The command line as a whole: how each error ends, and what help costs."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.cli import main as cli
from kebpf.cli.errors import DEBUG_VARIABLE, KebpfError
from tests.cli.builders import Calls, make_calls

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    return make_calls(monkeypatch, tmp_path)


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
        (["record", "--pid", "0"], "invalid value for '--pid': 0 has to be 1 or more"),
        (["record", "--pid", "x"], "invalid value for '--pid': 'x' is not a whole number"),
        (
            ["record", "--pid", "1", "--port", "70000"],
            "invalid value for '--port': 70000 has to be from 1 to 65535",
        ),
        (["record", "4711"], "nothing takes 4711 here"),
        (["record"], "nothing to record was named"),
        (["record", "--"], "no command follows the --"),
        (
            ["record", "--pid", "1", "--", "serve"],
            "give one kind of target only, not --pid and -- COMMAND",
        ),
        (["record", "--pid", "1", "--duration", "0"], "invalid value for '--duration'"),
        (["record", "--pid", "1", "--duration", "nan"], "invalid value for '--duration'"),
        (["test"], "how to start the application was not said"),
        (["test", "-c", "a", "--", "b"], "give either -c or -- COMMAND, not both"),
        (["test", "-c", " "], "the command is empty"),
        (["test", "-c", "a", "shop-9"], "there is no test set 'shop-9'"),
        (["test", "-c", "a", "--timeout", "inf"], "invalid value for '--timeout'"),
        (
            ["test", "-c", "a", "--shuffle=x"],
            "invalid value for '--shuffle': a whole number is expected",
        ),
        (["show", "a", "b"], "nothing takes b here"),
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
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
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
        "`make docs` writes it anew"
    )
