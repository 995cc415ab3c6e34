"""Checks whether this host can record and replay: looks at it, then tries what it would do."""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from kebpf import __version__
from kebpf.capture.checks import (
    NO_BTF,
    ON_HOST,
    USE_SUDO,
    Check,
    Part,
    Status,
    check_call_filter,
    check_cgroup,
    check_container,
    check_containers,
    check_java,
    check_kernel,
    check_lockdown,
    check_machine,
    check_offsets,
    check_privileges,
    check_tasks,
    check_tls,
    check_units,
    check_unprivileged_bpf,
    passed,
    report_problem,
    warn,
)
from kebpf.capture.host import Host
from kebpf.capture.probes import Door, choose_door
from kebpf.capture.rootless import Trial, describe_trial
from kebpf.capture.trials import KernelTrials
from kebpf.kernel.btf import VMLINUX_BTF, Btf
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import FOLDER, UntrustedError

_NOT_TRIED = "not tried: it needs root"
_DOORS = {
    Door.A: "the tracepoints of socket messages (Linux 6.3 and newer)",
    Door.B: "the end of every system call, as this kernel lacks the tracepoints of socket messages"
    " (Linux 6.3 and newer); while recording, other processes pay about 0.1 µs a call",
}


class Trials(Protocol):
    """What is tried on the kernel: `kebpf.capture.trials.KernelTrials`."""

    def find_bcc(self) -> tuple[str, str]: ...

    def load_door(self, door: Door) -> float: ...

    def redirect_cgroup(self) -> float: ...

    def count_kept(self) -> int: ...

    def enter_network(self, ids: tuple[int, int] | None) -> Trial: ...

    def bind_ipv6_loopback(self) -> None: ...


class Preflight:
    """One look at the host.

    ``door``, and ``is_rootless`` (whether a test without root works), are known once `run` has come
    to an end.
    """

    def __init__(self, host: Host | None = None, trials: Trials | None = None) -> None:
        self._host = host or Host()
        self._trials = trials or KernelTrials()
        self._has_bcc = False
        self.door: Door | None = None
        self.is_rootless = False

    def run(self) -> Iterator[Check]:
        """All checks in the order of reading.  Raises nothing."""
        host = self._host
        own = "not installed (run from its source)" if __version__ == "0" else __version__
        yield passed("kebpf", f"{own}, Python {platform.python_version()} ({sys.executable})")
        yield check_kernel(host)
        yield check_machine(host)
        yield from self._check_types()
        yield check_privileges(host)
        yield check_container(host)
        yield check_lockdown(host)
        yield check_unprivileged_bpf(host)
        yield self._check_bcc()
        trials = [*self._try_doors(), self._try_redirect()]
        yield check_call_filter(host, all(each.status is Status.OK for each in trials))
        yield from trials
        yield self._check_kept()
        yield check_cgroup(host)
        yield check_tasks(host)
        yield check_tls(host)
        yield check_java(host)
        yield check_units(host)
        yield check_containers(host)
        yield self._check_ipv6()
        yield from self._check_rootless()

    def _check_types(self) -> Iterator[Check]:
        """Type information, the offsets in it, and the door it leads to."""
        path = self._host.root / VMLINUX_BTF.relative_to("/")
        try:
            btf = Btf.load(path)
        except KernelError as error:
            yield report_problem("type information", str(error), _better_hint(error, NO_BTF))
            return
        except (ValueError, LookupError, struct.error):
            yield report_problem("type information", f"{path} is damaged", NO_BTF)
            return
        yield passed("type information", f"BTF in {path}")
        yield check_offsets(btf)
        self.door = choose_door(btf)
        yield passed("door", f"{self.door.value}: {_DOORS[self.door]}")

    def _check_bcc(self) -> Check:
        try:
            interpreter, version = self._trials.find_bcc()
        except KernelError as error:
            found = str(error)
            if "cannot import name 'BPF'" in found or "has no attribute 'load_func'" in found:
                found = f"the wrong one: what is installed is PyPI's bcc, another project; {found}"
            return report_problem("bcc", found, error.hint)
        self._has_bcc = True
        return passed("bcc", f"{version or 'of an unknown version'}, by {interpreter}")

    def _try_doors(self) -> Iterator[Check]:
        """The door this host gets must work; the other is worth a warning where it could."""
        for door in Door:
            name = f"door {door.value} loads"
            if self.door is Door.B and door is Door.A:
                yield passed(name, "not for this kernel: it lacks the tracepoints")
                continue
            stops = Part.RECORD if door is self.door else None
            yield self._try(name, partial(self._trials.load_door, door), stops)

    def _try_redirect(self) -> Check:
        return self._try("redirect loads", self._trials.redirect_cgroup, Part.REPLAY)

    def _try(self, name: str, load: Callable[[], float], stops: Part | None) -> Check:
        if not self._host.is_root:
            return warn(name, _NOT_TRIED, USE_SUDO)
        if not self._has_bcc or self.door is None:
            return warn(name, "not tried: bcc or type information is missing", "mend that first")
        try:
            seconds = load()
        except (KernelError, OSError) as error:
            remedy = _better_hint(error, self._guess_obstacle())
            return (
                report_problem(name, str(error), remedy, stops)
                if stops
                else warn(name, f"{error} (not needed on this host)", remedy)
            )
        return passed(name, f"and is taken off again; loading took {seconds:.2f} s")

    def _check_kept(self) -> Check:
        """Compiled programs of earlier runs, which are not used unless only root can have them."""
        name = "kept programs"
        if not self._host.is_root:
            return warn(name, _NOT_TRIED, USE_SUDO)
        try:
            number = self._trials.count_kept()
        except FileNotFoundError:
            return passed(name, "none yet: the first recording compiles and keeps them")
        except (UntrustedError, OSError) as error:
            found = f"not used, so that each recording starts with the compiler: {error}"
            return warn(name, found, f"remove {FOLDER}: the next recording makes it anew")
        return passed(name, f"{number} in {FOLDER}")

    def _check_rootless(self) -> Iterator[Check]:
        """What the user has who would test without root: under sudo, who called it."""
        ids = self._host.invoker
        trial = self._trials.enter_network(ids)
        self.is_rootless = not trial.refusal
        uid = self._host.user if ids is None else ids[0]
        yield from describe_trial(trial, f"user {uid}" if uid else "root")

    def _guess_obstacle(self) -> str:
        host = self._host
        if host.container() or host.has_call_filter():
            return f"{ON_HOST}, or in a container with --privileged --pid=host --cgroupns=host"
        return "report this, with the whole output of `kebpf doctor`"

    def _check_ipv6(self) -> Check:
        try:
            self._trials.bind_ipv6_loopback()
        except OSError as error:
            return warn(
                "IPv6 loopback",
                f"none ({error.strerror}): in a test, calls over IPv6 find nobody",
                "if the application calls over IPv6: `sysctl -w net.ipv6.conf.lo.disable_ipv6=0`",
            )
        return passed("IPv6 loopback", "there")


def _better_hint(error: Exception, otherwise: str) -> str:
    """The error's own hint, unless it only sends people here."""
    hint = str(getattr(error, "hint", ""))
    return hint if hint and "kebpf doctor" not in hint else otherwise
