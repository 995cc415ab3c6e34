"""A host made of files in a folder, and trials that do what a test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kebpf.capture.host import Host
from kebpf.capture.probes import Door
from kebpf.capture.rootless import Trial

EVERYTHING = "000001ffffffffff"
WHOLE_USER_MAP = "         0          0 4294967295\n"
UNIFIED = "24 30 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"


def make_host(
    root: Path,
    *,
    capabilities: str = EVERYTHING,
    seccomp: int = 0,
    user_map: str = WHOLE_USER_MAP,
    pid_namespace: str = "pid:[4026531836]",
    mountinfo: str = UNIFIED,
    files: dict[str, str] | None = None,
    **facts: Any,
) -> Host:
    """A host that has everything, but for what is given."""
    status = f"Name:\tkebpf\nCapEff:\t{capabilities}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t0\n"
    texts = {
        "proc/self/status": status,
        "proc/self/uid_map": user_map,
        "proc/self/mountinfo": mountinfo,
        **(files or {}),
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "proc/self/ns").mkdir()
    (root / "proc/self/ns/pid").symlink_to(pid_namespace)
    known: dict[str, Any] = {"release": "6.8.0-31-generic", "machine": "x86_64", "user": 0}
    return Host(root, **(known | {"environment": {}} | facts))


@dataclass
class FakeTrials:
    """Everything works, but for what has an error; ``trial`` is how the one without root goes."""

    errors: dict[str, Exception] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    trial: Trial = field(default_factory=lambda: Trial(is_intercepted=True))
    ids: tuple[int, int] | None = None

    def find_bcc(self) -> tuple[str, str]:
        self._do("bcc")
        return "/usr/bin/python3", "0.26.0"

    def load_door(self, door: Door) -> float:
        self._do(f"door {door.value}")
        return 0.25

    def redirect_cgroup(self) -> float:
        self._do("redirect")
        return 0.5

    def count_kept(self) -> int:
        self._do("kept")
        return 3

    def enter_network(self, ids: tuple[int, int] | None) -> Trial:
        self._do("network")
        self.ids = ids
        return self.trial

    def bind_ipv6_loopback(self) -> None:
        self._do("ipv6")

    def _do(self, name: str) -> None:
        self.done.append(name)
        if name in self.errors:
            raise self.errors[name]
