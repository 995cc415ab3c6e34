"""Facts about this host from /proc, /sys and the environment: what kebpf may do here."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_WHOLE_USER_MAP = ["0", "0", "4294967295"]  # user_namespaces(7)
# Files that container managers leave behind, and whose they are.
_CONTAINER_FILES = {".dockerenv": "docker", "run/.containerenv": "podman"}
# Bits of capabilities(7), as in linux/capability.h.
CAPABILITIES = {
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}


@dataclass(frozen=True, slots=True)
class Host:
    """Reads facts below ``root``; what cannot be read is told as unknown, never raised."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    release: str = field(default_factory=platform.release)
    machine: str = field(default_factory=platform.machine)
    user: int = field(default_factory=os.geteuid)

    @property
    def is_root(self) -> bool:
        return self.user == 0

    @property
    def invoker(self) -> tuple[int, int] | None:
        """Under sudo the ids of who called it, else nobody's: it is this user."""
        ids = [self.environment.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
        if not self.is_root or not all(one.isdecimal() for one in ids):
            return None
        return int(ids[0]), int(ids[1])

    def read(self, path: str) -> str | None:
        """A file's text without the space around it; ``None`` when it cannot be had."""
        try:
            return (self.root / path).read_text(errors="backslashreplace").strip()
        except OSError:
            return None

    def kernel_version(self) -> tuple[int, int] | None:
        """The first two numbers of the kernel's release."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else None

    def capabilities(self) -> frozenset[str]:
        """Those of `CAPABILITIES` that are effective now (``CapEff``; proc(5))."""
        mask = int(self._status("CapEff") or "0", 16)
        return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)

    def has_call_filter(self) -> bool:
        """Whether a seccomp filter looks at this process's system calls."""
        return self._status("Seccomp") not in ("0", None)

    def is_in_user_namespace(self) -> bool:
        """Whether root is root of a part only, as in a rootless container."""
        text = self.read("proc/self/uid_map")
        return text is not None and text.split() != _WHOLE_USER_MAP

    def is_in_pid_namespace(self) -> bool:
        """Whether process ids here are others than those the kernel's probes see."""
        try:
            return str((self.root / "proc/self/ns/pid").readlink()) != _INITIAL_PID_NAMESPACE
        except OSError:
            return False

    def lockdown(self) -> str | None:
        """The mode in force (``none``, ``integrity``, ``confidentiality``); kernel_lockdown(7)."""
        match = re.search(r"\[(\w+)\]", self.read("sys/kernel/security/lockdown") or "")
        return match[1] if match else None

    def container(self) -> str | None:
        """What kind of container this seems to be; a hint, as containers hide."""
        named = self.environment.get("container") or self.read("run/systemd/container")
        if named:
            return named
        if "KUBERNETES_SERVICE_HOST" in self.environment:
            return "kubernetes"
        found = (kind for path, kind in _CONTAINER_FILES.items() if (self.root / path).exists())
        return next(found, None)

    def mountinfo(self) -> Path:
        """Where this process's mounts are listed."""
        return self.root / "proc/self/mountinfo"

    def has_cgroup1(self) -> bool:
        """Whether version 1 control groups are mounted, alone or beside version 2."""
        lines = (self.read("proc/self/mountinfo") or "").splitlines()
        return any(line.partition(" - ")[2].startswith("cgroup ") for line in lines)

    def _status(self, key: str) -> str | None:
        for line in (self.read("proc/self/status") or "").splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return value.strip()
        return None
