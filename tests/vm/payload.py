"""What a machine is given: an archive of the repository's files, and a command to run them by."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.vm.releases import ROOT

#: Where the sources are in the machine, and the interpreter that has what they need.
SOURCE = "srv/kebpf"
PYTHON = "/opt/tests/bin/python"
_FOLDERS = ("kebpf", "bpf", "tests", "examples", "docs", "packaging")
_FILES = ("pyproject.toml", "README.md", "LICENSE", "Makefile")
_LEFT_OUT = {"__pycache__", "node_modules", "target", ".hypothesis", ".venv"}
_COMMAND = f"""#!{PYTHON}
import sys

sys.path.insert(0, "/{SOURCE}")
from kebpf.cli.main import main

sys.exit(main())
"""


def pack_files(target: Path, *packages: Path) -> Path:
    """Writes a tar archive to be unpacked at ``/``; ``packages`` come to be in ``/root``."""
    with tarfile.open(target, "w") as archive:
        for name in (*_FOLDERS, *_FILES):
            archive.add(ROOT / name, f"{SOURCE}/{name}", filter=_leave_out)
        for package in packages:
            archive.add(package, f"root/{package.name}", filter=_as_root)
        command = tarfile.TarInfo(f"{PYTHON[1:].rpartition('/')[0]}/kebpf")
        command.size, command.mode = len(_COMMAND), 0o755
        archive.addfile(command, io.BytesIO(_COMMAND.encode()))
    return target


def _leave_out(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT & set(entry.name.split("/")) else _as_root(entry)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
