"""Made-up trees of control groups, and commands on PATH that answer as told."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from kebpf.kernel.hierarchies import Hierarchy


def make_tree(mount: Path, members: Mapping[str, Sequence[int]], number: int = 0) -> Hierarchy:
    """Groups by path below ``mount``, with the processes in them; those between are empty."""
    for path in ("", *members):
        folder = mount
        for part in ("", *Path(path).parts):
            folder = folder / part
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cgroup.procs").touch()
    for path, pids in members.items():
        (mount / path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return Hierarchy(mount, number, frozenset({"name=systemd"}) if number else frozenset())


def make_command(folder: Path, name: str, output: str, status: int = 0) -> Path:
    """A program that prints ``output``; gives where it writes down the words it was given."""
    folder.mkdir(exist_ok=True)
    asked = folder / f"{name}.asked"
    script = folder / name
    script.write_text(
        f'#!/bin/sh\necho "$@" >>{shlex.quote(str(asked))}\n'
        f"printf %s {shlex.quote(output)}\nexit {status}\n"
    )
    script.chmod(0o755)
    return asked


def own_pid() -> int:
    """A process that runs."""
    return os.getpid()
