"""Versions: what makes another one, and what does not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from kebpf.agent.version import VersionReader
from tests.agent.builders import WAITING, WAITING_IN_SHELL, running


def read(*words: str | Path, folder: Path | None = None) -> str:
    with running(*words, folder=folder) as program:
        return VersionReader().read(program).digest


def test_an_executable_counts_by_its_content(tmp_path: Path) -> None:
    copy = tmp_path / "bin" / "shop"
    copy.parent.mkdir()
    shutil.copy("/bin/sh", copy)
    words = (copy, "-c", WAITING_IN_SHELL)
    first = read(*words)
    copy.unlink()
    shutil.copy("/bin/sh", copy)  # the same again, in another file
    os.utime(copy, (1, 1))
    assert read(*words) == first
    with copy.open("ab") as file:
        file.write(b"\0")
    assert read(*words) != first
    assert read(copy, "-c", f"{WAITING_IN_SHELL}; true") != first


def test_an_interpreter_counts_by_its_sources(tmp_path: Path) -> None:
    (tmp_path / "app" / "parts").mkdir(parents=True)
    (tmp_path / "app" / "main.py").write_text(WAITING)
    (tmp_path / "app" / "parts" / "one.py").write_text("A = 1\n")
    words = (sys.executable, tmp_path / "app" / "main.py")
    first = read(*words)
    (tmp_path / "app" / "data.json").write_text("1")
    (tmp_path / "app" / "__pycache__").mkdir()
    (tmp_path / "app" / "__pycache__" / "x.py").write_text("1")
    assert read(*words) == first
    (tmp_path / "app" / "parts" / "one.py").write_text("A = 2\n")
    assert read(*words) != first


def test_a_module_counts_by_its_package(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__main__.py").write_text(WAITING)
    (tmp_path / "shop" / "views.py").write_text("A = 1\n")
    words = (sys.executable, "-m", "shop")
    first = read(*words, folder=tmp_path)
    assert read(*words, folder=tmp_path) == first
    (tmp_path / "shop" / "views.py").write_text("A = 2\n")
    assert read(*words, folder=tmp_path) != first


def test_a_changed_file_is_read_again_and_a_large_one_at_both_ends(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(WAITING + "\n")
    (tmp_path / "beside.so").touch()
    os.truncate(tmp_path / "beside.so", 65 << 20)
    reader = VersionReader()
    with running(sys.executable, tmp_path / "big.py") as program:
        first = reader.read(program)
        assert reader.read(program) == first
        with (tmp_path / "beside.so").open("r+b") as file:
            file.write(b"x")
        assert reader.read(program) == reader.read(program)
    assert first.command == f"{sys.executable} {tmp_path / 'big.py'}"
