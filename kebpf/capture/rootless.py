"""Tries what a test without root needs: a network of its own, all intercepted, and its own clock.

`try_rootless` starts this module in a process of its own, as it cannot be left again, and as the
user who would run such a test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kebpf.capture.checks import Check, passed, warn
from kebpf.kernel.errors import KernelError
from kebpf.kernel.rootless import OTHER_FORM, entered
from kebpf.kernel.timens import shifted_monotonic

NAMESPACES, INTERCEPTION, CLOCK = "user namespaces", "nf_tables", "time namespaces"

_SOURCES = Path(__file__).parents[2]
_RUN = "from kebpf.capture.rootless import main; main()"
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went; ``refusal`` is why there can be no such test at all, ``no_clock`` no namespace.

    ``is_root`` means that it took no user namespace.
    """

    refusal: str = ""
    is_root: bool = False
    is_intercepted: bool = False
    no_clock: str = ""


def main() -> None:
    """Moves this process into a network as a test would; prints a `Trial` as JSON."""
    sys.stdout.write(json.dumps(asdict(_try_here())))


def _try_here() -> Trial:
    before = Path("/proc/self/ns/user").readlink()
    try:
        with entered() as network:
            is_root = Path("/proc/self/ns/user").readlink() == before
            return Trial("", is_root, network.is_intercepted, _try_clock())
    except KernelError as error:
        return Trial(str(error))


def _try_clock() -> str:
    """Why no process can live in another time, if so."""
    try:
        with shifted_monotonic(time.clock_gettime_ns(time.CLOCK_MONOTONIC)):
            return ""
    except KernelError as error:
        return str(error)


def try_rootless(ids: tuple[int, int] | None) -> Trial:
    """Tries it as this user, or as one with these ids.  Raises nothing."""
    paths = [str(_SOURCES), os.environ.get("PYTHONPATH", "")]
    uid, gid = ids or (None, None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RUN],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            user=uid,
            group=gid,
            extra_groups=None if ids is None else (),
            check=False,
        )
        return Trial(**json.loads(done.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return Trial("it could not be tried: this user cannot run kebpf's interpreter")


def describe_trial(trial: Trial, user: str) -> Iterator[Check]:
    """What it means for ``kebpf test --rootless`` and for the clock, with the form that works."""
    if trial.refusal:
        yield warn(NAMESPACES, f"no --rootless for {user}: {trial.refusal}", OTHER_FORM)
        return
    needs = ", who needs none" if trial.is_root else ""
    yield passed(NAMESPACES, f"`kebpf test --rootless` works for {user}{needs}")
    if trial.is_intercepted:
        yield passed(INTERCEPTION, "with tproxy and socket: --rootless sees every call")
    else:
        yield warn(
            INTERCEPTION,
            "without tproxy or socket: --rootless answers recorded destinations only, attempts to "
            "reach others are refused and reported by address",
            "load the modules nft_tproxy and nft_socket, or use `sudo kebpf test`",
        )
    if trial.no_clock:
        yield warn(CLOCK, trial.no_clock, "use --clock real, or `sudo kebpf test`")
    else:
        yield passed(CLOCK, f"--clock recorded works with --rootless for {user}")
