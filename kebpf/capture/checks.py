"""The checks that only read: what each finds of a host, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from kebpf.capture.containers import MANAGERS
from kebpf.capture.host import Host
from kebpf.kernel.btf import Btf
from kebpf.kernel.cgroup import find_cgroup2_mount
from kebpf.kernel.errors import KernelError
from kebpf.kernel.offsets import find_offsets

OLDEST_KERNEL = (5, 8)  # the first with BPF ring buffers
TRIED_MACHINES = ("x86_64",)
BUILT_MACHINES = ("x86_64", "aarch64")

PROGRAM_FOLDERS = ("usr/bin", "usr/local/bin", "bin")

USE_SUDO = "run `sudo kebpf doctor`"
ON_HOST = "run kebpf on the host itself"

MOST_NAMED = 5  # processes

UPROBE_TYPE = "sys/bus/event_source/devices/uprobe/type"

NO_BTF = (
    "kebpf needs a kernel built with CONFIG_DEBUG_INFO_BTF (Debian 11, Ubuntu 20.10, RHEL 8.2 or "
    "newer have it)"
)


class Status(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Part(enum.Flag):
    """What a problem stands in the way of."""

    RECORD = enum.auto()
    REPLAY = enum.auto()
    BOTH = RECORD | REPLAY


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.  ``remedy`` is what to do about it; ``stops`` matters for problems only."""

    name: str
    status: Status
    found: str
    remedy: str = ""
    stops: Part = Part.BOTH


def passed(name: str, found: str) -> Check:
    """Nothing to do."""
    return Check(name, Status.OK, found)


def warn(name: str, found: str, remedy: str) -> Check:
    """Not in the way, but a person should know."""
    return Check(name, Status.WARNING, found, remedy)


def report_problem(name: str, found: str, remedy: str, stops: Part = Part.BOTH) -> Check:
    """In the way of ``stops``."""
    return Check(name, Status.PROBLEM, found, remedy, stops)


def check_kernel(host: Host) -> Check:
    """Whether the kernel is new enough."""
    version = host.kernel_version()
    if version is None or version < OLDEST_KERNEL:
        return warn(
            "kernel",
            f"Linux {host.release} is older than 5.8, the first with all that is needed",
            "use Linux 5.8 or newer, unless the programs load below: some distributions add "
            "what is needed to older kernels",
        )
    return passed("kernel", f"Linux {host.release}")


def check_machine(host: Host) -> Check:
    """Whether the probes know this processor."""
    if host.machine not in BUILT_MACHINES:
        return report_problem(
            "architecture", f"{host.machine} is unknown to the probes", "use x86_64 or aarch64"
        )
    if host.machine not in TRIED_MACHINES:
        return warn(
            "architecture",
            f"{host.machine}: the probes are written for it, but were never tried on it",
            "compare a first recording with what was sent",
        )
    return passed("architecture", host.machine)


def check_offsets(btf: Btf) -> Check:
    """Whether every struct member the probes read is there."""
    try:
        offsets = find_offsets(btf)
    except KernelError as error:
        return report_problem(
            "struct offsets", str(error), f"report this with the kernel's version; {NO_BTF}"
        )
    return passed("struct offsets", f"all {len(offsets)} found")


def check_privileges(host: Host) -> Check:
    """Root, and the capabilities that containers take away from it."""
    name = "privileges"
    if not host.is_root:
        return report_problem(
            name, f"user {host.user}, not root", "run kebpf with sudo: `sudo kebpf doctor`"
        )
    if host.is_in_user_namespace():
        return report_problem(name, "root of a user namespace only (a rootless container)", ON_HOST)
    held = host.capabilities()
    missing = {"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"} - held
    if "CAP_SYS_ADMIN" in held:
        missing &= {"CAP_SYS_PTRACE"}
    told = f"root, but without {', '.join(sorted(missing))}"
    remedy = f"{ON_HOST}, or give the container what is missing (--cap-add, --privileged)"
    if missing & {"CAP_BPF", "CAP_PERFMON"}:
        return report_problem(name, told, remedy)
    if "CAP_NET_ADMIN" in missing:
        return report_problem(name, told, remedy, Part.REPLAY)
    if missing:
        return warn(name, f"{told}: other users' processes hide their sockets", remedy)
    return passed(name, "root, with every capability needed")


def check_container(host: Host) -> Check:
    """Whether process ids here are those that the probes see."""
    kind = host.container()
    if host.is_in_pid_namespace():
        return report_problem(
            "container",
            f"{kind or 'of an unknown kind'}, with process ids of its own: the probes see those "
            "of the host",
            f"{ON_HOST}, or in a container with --pid=host",
            Part.RECORD,
        )
    return passed("container", f"{kind}, with the host's process ids" if kind else "none seen")


def check_lockdown(host: Host) -> Check:
    """Whether the kernel lets root's probes read its memory."""
    mode = host.lockdown()
    if mode == "confidentiality":
        return report_problem(
            "lockdown",
            "confidentiality: no probe may read the kernel's memory",
            "boot without `lockdown=confidentiality` (`integrity` does no harm)",
        )
    return passed("lockdown", mode or "none seen")


def check_call_filter(host: Host, do_programs_load: bool) -> Check:
    """Whether a seccomp filter may be what refuses."""
    if not host.has_call_filter():
        return passed("seccomp", "no filter on this process")
    if do_programs_load:
        return passed("seccomp", "a filter that lets the programs load")
    return warn(
        "seccomp",
        "a filter looks at this process's system calls and may refuse bpf(2)",
        f"{ON_HOST}, or in a container with --security-opt seccomp=unconfined",
    )


def check_unprivileged_bpf(host: Host) -> Check:
    """Told because people look for it; it says nothing about root."""
    value = host.read("proc/sys/kernel/unprivileged_bpf_disabled")
    return passed("unprivileged BPF", f"{value or 'unknown'} (of no matter to root)")


def check_tasks(host: Host) -> Check:
    """Whether the asyncio tasks of Python services can be followed; nothing needs them."""
    name = "asyncio tasks"
    if host.read(UPROBE_TYPE) is None:
        return passed(name, "not followed: this kernel has no probes on programs' functions")
    return passed(name, "followed in CPython 3.7 to 3.13, which tells apart what shares a thread")


def check_tls(host: Host) -> Check:
    """Whether what TLS libraries encrypt can be read."""
    name = "TLS"
    if host.read(UPROBE_TYPE) is None:
        found = "not read: this kernel has no probes on programs' functions"
        return warn(name, found, "use a kernel built with CONFIG_UPROBE_EVENTS")
    return passed(name, "read where OpenSSL, GnuTLS, Go or rustls encrypts")


def check_java(host: Host) -> Check:
    """Which Java programs run, whose TLS nothing but an agent can read."""
    name, option = "Java's TLS", "`kebpf record --java-agent`"
    found = sorted(
        int(path.parent.name)
        for path in (host.root / "proc").glob("[0-9]*/comm")
        if host.read(str(path.relative_to(host.root))) == "java"
    )
    if not found:
        return passed(name, f"no Java program runs now; read with {option}")
    some = ", ".join(map(str, found[:MOST_NAMED])) + (" …" if found[MOST_NAMED:] else "")
    return passed(name, f"process{'es' if found[1:] else ''} {some}: read only with {option}")


def check_units(host: Host) -> Check:
    """How a systemd unit is found."""
    if (host.root / "run/systemd/system").is_dir():
        return passed("units", "systemd runs: --unit asks it")
    return passed("units", "systemd does not run: --unit looks for the control group of that name")


def check_containers(host: Host) -> Check:
    """How a container is found."""
    found = [one for one in MANAGERS if _has_program(host, one)]
    if found:
        return passed("containers", f"--container takes ids, and names that {_or(found)} knows")
    return passed("containers", f"no {_or(MANAGERS)} here: --container takes ids, not names")


def _has_program(host: Host, name: str) -> bool:
    return any((host.root / folder / name).exists() for folder in PROGRAM_FOLDERS)


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def check_cgroup(host: Host) -> Check:
    """Where version 2 control groups are mounted."""
    try:
        mount = find_cgroup2_mount(host.mountinfo())
    except KernelError as error:
        return report_problem("cgroup v2", str(error), error.hint, Part.REPLAY)
    except OSError as error:
        return report_problem("cgroup v2", f"unknown: {error.strerror}", "mount /proc", Part.REPLAY)
    layout = " (hybrid: version 1 is mounted beside it)" if host.has_cgroup1() else ""
    return passed("cgroup v2", f"{mount}{layout}")
