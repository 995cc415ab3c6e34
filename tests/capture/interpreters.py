"""Finds the Python interpreters of a machine and runs programs by them, for the tests of tasks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_NAME = re.compile(r"python3\.(\d+)$")


def find_interpreters() -> dict[str, str]:
    """By version (``3.12``) and where it is from: those on PATH, and pyenv's."""
    found = {f"3.{sys.version_info.minor} (tests)": sys.executable}
    for minor in range(7, 15):
        path = shutil.which(f"python3.{minor}")
        if path is not None and "shims" not in path:
            found[f"3.{minor} (PATH)"] = path
    for own in sorted((Path.home() / ".pyenv/versions").glob("3.*/bin/python3.*")):
        match = _NAME.search(own.name)
        if match is not None and int(match[1]) >= 7:
            found[f"3.{match[1]} (pyenv)"] = str(own)
    return found


INTERPRETERS = find_interpreters()


@dataclass(frozen=True)
class Running:
    """A program that does a line's worth when it gets one, and answers with one."""

    process: subprocess.Popen[str]
    output: IO[str]
    input: IO[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, line: str = "") -> str:
        self.input.write(line + "\n")
        self.input.flush()
        return self.output.readline().strip()


@contextmanager
def running(interpreter: str, program: str) -> Iterator[Running]:
    """Runs a program until the block ends."""
    process = subprocess.Popen(
        [interpreter, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield Running(process, process.stdout, process.stdin)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
