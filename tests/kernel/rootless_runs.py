"""Programs of a test's run in a network without root, as a user who has none."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[2]
NOBODY = 65534
HEAD = f"import sys; sys.path.insert(0, {str(SOURCES)!r}); import json, os, socket, subprocess\n"


def list_labelled(label: str) -> list[str]:
    """The processes that come from one run: all have its environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if label.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


def as_user(*words: str, uid: int = NOBODY) -> list[str]:
    """A command line that gives up root, where there is one."""
    if os.geteuid() != 0:
        return list(words)
    identity = ("--reuid", str(uid), "--regid", str(uid), "--clear-groups")
    return ["setpriv", *identity, "--inh-caps=-all", *words]


def skip_unless_reachable() -> None:
    """The interpreter and the sources may lie in a folder that is root's alone."""
    words = as_user(sys.executable, "-c", HEAD + "import kebpf.kernel.rootless")
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("an ordinary user cannot read the interpreter or the sources here")


def run_inside(
    code: str, *, uid: int = NOBODY, prefix: tuple[str, ...] = (), intercepts: bool = True
) -> Any:
    """Runs ``code`` in a network of its own (``network``); what it prints is JSON."""
    body = "".join(f"    {line}\n" for line in code.strip().splitlines())
    script = f"{HEAD}from kebpf.kernel.rootless import entered\n"
    script += f"with entered({intercepts}) as network:\n{body}"
    words = [*prefix, sys.executable, "-c", script]
    done = subprocess.run(
        as_user(*words, uid=uid) if not prefix else words,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
