"""Real files of every kind, made by the compilers of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.replay.executables import (
    describe_other_interpreter,
    find_executable,
    why_no_library,
)

C_PROGRAM = "int main(void) { return 0; }\n"
GO_PROGRAM = "package main\nfunc main() {}\n"


def compile_c(folder: Path, *options: str) -> Path:
    source, program = folder / "program.c", folder / "program"
    source.write_text(C_PROGRAM)
    subprocess.run(["gcc", *options, "-o", program, source], check=True)
    return program


@pytest.mark.parametrize("options", [(), ("-no-pie",), ("-s",)], ids=["pie", "fixed", "stripped"])
def test_a_dynamic_program_takes_a_library(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert why_no_library(compile_c(tmp_path, *options)) is None
    assert why_no_library(Path(sys.executable)) is None


@pytest.mark.parametrize("kind", ["-static", "-static-pie"])
def test_a_static_program_does_not(tmp_path: Path, kind: str) -> None:
    assert "is linked statically" in str(why_no_library(compile_c(tmp_path, kind)))


@pytest.mark.parametrize("flags", ["", "-s -w"], ids=["plain", "stripped"])
def test_a_go_program_does_not(tmp_path: Path, flags: str) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    build = ["go", "build", "-ldflags", flags, "-o", "program", "main.go"]
    subprocess.run(build, cwd=tmp_path, check=True)
    assert "is a Go program" in str(why_no_library(tmp_path / "program"))


def test_a_program_of_another_c_library_does_not(tmp_path: Path) -> None:
    program = compile_c(tmp_path, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    assert "runs on musl" in str(why_no_library(program))


def test_one_that_changes_its_user_does_not(tmp_path: Path) -> None:
    program = compile_c(tmp_path)
    program.chmod(0o4755)
    assert "changes its user" in str(why_no_library(program))


def test_a_script_is_left_to_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert why_no_library(script) is None
    script.write_bytes(b"\x7fELF\x02\x01")
    assert why_no_library(script) is None


def test_the_file_of_a_command_is_found_as_the_application_would(tmp_path: Path) -> None:
    program = compile_c(tmp_path)
    (tmp_path / "link").symlink_to(program)
    environment = {"PATH": str(tmp_path)}
    assert find_executable(["link", "x"], environment) == program
    assert find_executable([str(program)], {}) == program
    assert find_executable(["nowhere"], environment) is None
    assert find_executable("link x", environment) is None


def test_an_interpreter_from_another_file_is_told(tmp_path: Path) -> None:
    own = str(Path(sys.executable).resolve())
    (tmp_path / "python3").symlink_to(own)
    for recorded in (own, str(tmp_path / "python3"), "/srv/shop-1/shop", "/usr/bin/node", ""):
        assert describe_other_interpreter(recorded, [os.getpid()]) is None
    sentence = describe_other_interpreter("/opt/python3.9", [os.getpid()])
    assert sentence == f"it was recorded with /opt/python3.9 and runs with {own} now"
    assert describe_other_interpreter(own, [1 << 22]) is None  # it is over
