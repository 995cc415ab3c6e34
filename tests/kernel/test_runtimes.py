"""Programs of this machine are told apart by how they speak TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.kernel.runtimes import Runtime, identify

LIMIT_S = 60


@contextmanager
def running(words: Sequence[str]) -> Iterator[int]:
    """A program that says something once it is up, and then waits for its input to end."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process.pid
    finally:
        process.communicate(timeout=LIMIT_S)


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_python_with_its_library() -> None:
    code = "import ssl, sys; print('up', flush=True); sys.stdin.read()"
    with running([sys.executable, "-c", code]) as pid:
        user = identify(pid)
    assert user is not None
    assert user.runtime is Runtime.PYTHON
    assert "libssl" in user.library
    assert user.library in str(user)


def test_node() -> None:
    code = "console.log('up'); process.stdin.resume()"
    with running([need("node"), "-e", code]) as pid:
        user = identify(pid)
    assert user is not None
    assert (user.runtime, user.name) == (Runtime.NODE, "node")


def test_java(tmp_path: Path) -> None:
    source = tmp_path / "Up.java"
    source.write_text(
        "public class Up { public static void main(String[] a) throws Exception {"
        ' System.out.println("up"); System.in.read(); } }'
    )
    with running([need("java"), str(source)]) as pid:
        user = identify(pid)
    assert user is not None
    assert user.runtime is Runtime.JAVA
    assert user.library.endswith("libjvm.so")


def test_what_is_linked_in_is_known_by_its_marks(tmp_path: Path) -> None:
    """A copy of a program with the mark of another behind it."""
    for mark, runtime in ((b"\xff Go buildinf:", Runtime.GO), (b"rustls::", Runtime.RUSTLS)):
        program = tmp_path / "program"
        program.write_bytes(Path(need("cat")).read_bytes() + mark)
        program.chmod(0o755)
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.stdout.read(1) == b"x"
            user = identify(process.pid)
        finally:
            process.communicate(timeout=LIMIT_S)
        assert user is not None
        assert user.runtime is runtime


def test_nobody_is_told_of_who_is_gone() -> None:
    assert identify(2**22 + 1) is None
    assert identify(os.getpid()) is not None
