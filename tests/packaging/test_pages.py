"""The man page and the completions, read by the programs that read them on a host."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from kebpf.cli.commands import app

ROOT = Path(__file__).parents[2]


def make(module: str, *words: str) -> str:
    """As `make install` does."""
    command = [sys.executable, "-m", f"docs.{module}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def declared() -> dict[str, list[str]]:
    """The long options of each command, as typer has them."""
    group: Any = typer.main.get_command(app)
    return {
        name: [
            option
            for one in command.params
            if one.param_type_name == "option" and not one.hidden
            for option in (*one.opts, *one.secondary_opts)
        ]
        for name, command in group.commands.items()
    }


def skip_without(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_man_page_names_every_command_and_option() -> None:
    plain = make("make_manpage").replace(r"\-", "-")
    sections = plain.split("\n.SS ")[1:]
    described = {section.split("\n")[0].removeprefix("kebpf "): section for section in sections}
    assert described.keys() == declared().keys()
    for name, options in declared().items():
        assert [one for one in options if one not in described[name]] == []


def test_roff_takes_the_man_page_without_a_warning() -> None:
    skip_without("groff")
    done = run(["groff", "-man", "-Tutf8", "-K", "utf8", "-ww", "-z"], make("make_manpage"))
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_offers_the_options_of_the_command(tmp_path: Path) -> None:
    skip_without("bash")
    script = tmp_path / "kebpf"
    script.write_text(make("make_completions", "bash"))
    for name, options in declared().items():
        ask = f"COMP_WORDS=(kebpf {name} -) COMP_CWORD=2; _kebpf kebpf - {name}"
        done = run(["bash", "-c", f'. {script}; {ask}; printf "%s\\n" "${{COMPREPLY[@]}}"'])
        assert set(options) <= set(done.stdout.split()), done.stderr


def test_bash_offers_the_commands_and_values(tmp_path: Path) -> None:
    skip_without("bash")
    script = tmp_path / "kebpf"
    script.write_text(make("make_completions", "bash"))
    answer = 'printf "%s " "${COMPREPLY[@]}"'
    ask = f"COMP_WORDS=(kebpf re) COMP_CWORD=1; _kebpf kebpf re kebpf; {answer}"
    assert run(["bash", "-c", f". {script}; {ask}"]).stdout.split() == ["record", "review"]
    words = "COMP_WORDS=(kebpf test --clock '') COMP_CWORD=3"
    ask = f"{words}; _kebpf kebpf '' --clock; {answer}"
    assert run(["bash", "-c", f". {script}; {ask}"]).stdout.split() == ["real", "recorded"]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_each_shell_reads_its_completion(shell: str, check: str, tmp_path: Path) -> None:
    skip_without(shell)
    script = tmp_path / "completion"
    script.write_text(make("make_completions", shell))
    done = run([shell, check, str(script)])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_completion_names_every_option(shell: str) -> None:
    text = make("make_completions", shell)
    for options in declared().values():
        for one in options:
            assert one in text or f"-l {one.removeprefix('--')} " in text
