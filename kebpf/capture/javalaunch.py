"""The environment in which every JVM that a command starts loads the agent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from kebpf.capture.javaattach import JAR
from kebpf.capture.jvm import OPTIONS_VARIABLE, PROC
from kebpf.kernel.acting import act_as


def add_agent(
    environment: Mapping[str, str], uid: int, gid: int, stack: ExitStack, jar: Path = JAR
) -> dict[str, str]:
    """The environment with the agent's option before those it has.

    The agent reports as long as this process lives.  Where the user may not read the jar it is
    copied, until ``stack`` closes.  Raises ``OSError``.
    """
    if not act_as(uid, gid, lambda: os.access(jar, os.R_OK, effective_ids=True)):
        folder = Path(tempfile.mkdtemp(prefix="kebpf-java-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        jar = Path(shutil.copyfile(jar, folder / jar.name))
        jar.chmod(0o644)
    option = f"-javaagent:{jar}=pid={os.getpid()}:{_find_start(os.getpid())}"
    if " " in option:
        option = f'"{option}"'
    given = environment.get(OPTIONS_VARIABLE, "")
    return {**environment, OPTIONS_VARIABLE: f"{option} {given}".strip()}


def _find_start(pid: int) -> str:
    """When a process began, which with its number names it (proc(5), field 22)."""
    text = (PROC / str(pid) / "stat").read_text()
    return text[text.rindex(")") + 2 :].split()[19]
