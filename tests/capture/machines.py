"""Java machines to attach to, for the tests of that."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from kebpf.capture.jvm import Jvm, read_jvm

needs_java = pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK is installed")

PROGRAM = """
public class Idle {
    public static void main(String[] words) throws Exception {
        System.out.println("up");
        while (System.in.read() >= 0) {}
        System.out.println("down");
    }
}
"""


def compile_idle(folder: Path) -> Path:
    """The folder of a program's class that does nothing until its input ends."""
    source = folder / "Idle.java"
    source.write_text(PROGRAM)
    subprocess.run(["javac", str(source)], check=True)
    folder.chmod(0o755)
    return folder


@contextmanager
def idle(
    classes: Path, *options: str, before: tuple[str, ...] = (), user: int = 0
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A JVM that stands still, and what it prints, errors among it."""
    program = subprocess.Popen(
        [*before, "java", *options, "-cp", str(classes), "Idle"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=user,
        cwd="/",
    )
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "up\n"
        yield program, program.stdout
    finally:
        program.kill()
        program.communicate()


def jvm_of(pid: int) -> Jvm:
    """Of a process that must be one."""
    found = read_jvm(pid)
    assert found is not None
    return found
