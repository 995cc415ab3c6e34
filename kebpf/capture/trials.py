"""Tries on this host what a recording and a test need of the kernel, and undoes it at once."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import closing

from kebpf.capture.probes import Door, Probes
from kebpf.capture.rootless import Trial, try_rootless
from kebpf.kernel.cgroup import make_cgroup
from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.programs import find_interpreter
from kebpf.kernel.redirect import Redirect, RedirectPorts

_VERSION_TIMEOUT = 20.0  # seconds; importing bcc loads LLVM
_NO_PORTS = RedirectPorts(stream4=1, datagram4=1, stream6=1, datagram6=1)
_SAY_VERSION = "import bcc; print(bcc.__version__)"


class KernelTrials:
    """What `kebpf.capture.preflight` tries; most of it needs root."""

    def find_bcc(self) -> tuple[str, str]:
        """The interpreter that has bcc, and bcc's version or nothing.  Raises `KernelError`."""
        interpreter = find_interpreter()
        try:
            run = subprocess.run(
                [interpreter, "-I", "-c", _SAY_VERSION],
                capture_output=True,
                text=True,
                timeout=_VERSION_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return interpreter, ""
        return interpreter, run.stdout.strip()

    def load_door(self, door: Door) -> float:
        """Loads and attaches a door's probes, watching nothing; the seconds it took.

        Raises `KernelError` or ``OSError``.
        """
        begin = time.monotonic()
        with closing(Probes(door)) as probes:
            probes.attach()
            return time.monotonic() - begin

    def redirect_cgroup(self) -> float:
        """Makes a control group, links the redirect to it; the seconds loading took.

        The group is empty, so that nothing is redirected.  Raises `KernelError` or ``OSError``.
        """
        with make_cgroup() as group:
            begin = time.monotonic()
            with closing(Redirect(group.path, _NO_PORTS)):
                return time.monotonic() - begin

    def count_kept(self) -> int:
        """Files of compiled programs.  Raises `UntrustedError` and ``OSError``."""
        return ProgramCache().check()

    def enter_network(self, ids: tuple[int, int] | None) -> Trial:
        """A network without root, as this user or as one with these ids."""
        return try_rootless(ids)

    def bind_ipv6_loopback(self) -> None:
        """Raises ``OSError`` where ::1 is not there."""
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as found:
            found.bind(("::1", 0))
