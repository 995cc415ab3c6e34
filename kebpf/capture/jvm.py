"""Facts about a Java process: which machine it is, who runs it, whether an agent can be put in."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from kebpf.capture.errors import TargetError

PROC = Path("/proc")
JAR_NAME = "kebpf-agent.jar"
OPTIONS_VARIABLE = "JAVA_TOOL_OPTIONS"
_OPTION_VARIABLES = (OPTIONS_VARIABLE, "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_CAPABILITIES = re.compile(rb"sun\.rt\.jvmCapabilities\0+([01])")
_REFUSING = "-XX:+DisableAttachMechanism"


class AttachError(TargetError):
    """No agent can be put into a Java process: the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Jvm:
    """``number`` is its process id where it lives, ``user`` and ``group`` are its effective ids."""

    pid: int
    number: int
    user: int
    group: int
    catches_quit: bool
    is_hotspot: bool

    @property
    def title(self) -> str:
        """What it is called to a person."""
        with contextlib.suppress(OSError):
            return f"{(PROC / str(self.pid) / 'comm').read_text().strip()} ({self.pid})"
        return f"process {self.pid}"


def read_jvm(pid: int) -> Jvm | None:
    """The Java machine that runs in a process.  Raises ``OSError`` when it is gone."""
    maps = (PROC / str(pid) / "maps").read_text(errors="replace")
    is_hotspot = "/libjvm.so" in maps and "/libj9vm" not in maps
    if not is_hotspot and "/libj9vm" not in maps:
        return None
    fields = dict(
        line.split(":\t", 1)
        for line in (PROC / str(pid) / "status").read_text().splitlines()
        if ":\t" in line
    )
    caught = int(fields["SigCgt"], 16)
    return Jvm(
        pid,
        int(fields.get("NSpid", str(pid)).split()[-1]),
        int(fields["Uid"].split()[1]),
        int(fields["Gid"].split()[1]),
        bool(caught >> (signal.SIGQUIT - 1) & 1),
        is_hotspot,
    )


def has_agent(pid: int) -> bool:
    """Whether it was started with kebpf's agent.  Raises ``OSError`` when it is gone."""
    environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    start = OPTIONS_VARIABLE.encode() + b"="
    return any(one.startswith(start) and JAR_NAME.encode() in one for one in environment)


def check_attachable(jvm: Jvm, temporary: int) -> None:
    """That asking it for its socket does no harm: SIGQUIT ends a program that does not catch it,

    and one that takes no agents prints all its threads.  ``temporary`` is its ``/tmp``, open.
    Raises `AttachError`.
    """
    if _REFUSING in _find_options(jvm.pid) or _denies_attaching(jvm, temporary):
        raise AttachError(f"{jvm.title} was started with {_REFUSING}: no agent can be put into it")
    if not jvm.catches_quit:
        raise AttachError(f"{jvm.title} does not catch SIGQUIT: no agent can be put into it (yet)")


def _find_options(pid: int) -> set[str]:
    folder = PROC / str(pid)
    words = (folder / "cmdline").read_bytes().split(b"\0")
    for setting in (folder / "environ").read_bytes().split(b"\0"):
        name, _, value = setting.partition(b"=")
        if name.decode(errors="replace") in _OPTION_VARIABLES:
            words += value.split()
    return {os.fsdecode(word) for word in words}


def _denies_attaching(jvm: Jvm, temporary: int) -> bool:
    """What its performance data say, where it keeps any (HotSpot's perfMemory)."""
    for name in os.listdir(temporary):
        if not name.startswith("hsperfdata_"):
            continue
        with contextlib.suppress(OSError):
            path = f"{name}/{jvm.number}"
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=temporary)
            with os.fdopen(number, "rb") as file:
                found = _CAPABILITIES.search(file.read(1 << 20))
            if found is not None:
                return found[1] == b"0"
    return False
