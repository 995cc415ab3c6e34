"""The agent's own control group, as folders that look like one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kebpf.agent.config import Limits
from kebpf.agent.limits import apply_limits, find_own_group
from kebpf.kernel.hierarchies import Hierarchy

LIMITS = Limits(memory=100 << 20, cpu=0.25)
OWN = {0: "/system.slice/kebpf.service"}


def make_group(mount: Path, *members: int) -> tuple[Path, list[Hierarchy]]:
    folder = mount / "system.slice/kebpf.service"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in members))
    return folder, [Hierarchy(mount, 0)]


def test_nothing_is_asked_for_and_nothing_is_done() -> None:
    assert apply_limits(Limits(), []) == []


def test_without_a_group_of_its_own_it_says_what_to_do() -> None:
    [sentence] = apply_limits(LIMITS, [])
    assert "no control group of its own" in sentence
    assert "CPUQuota=" in sentence


def test_limits_are_written(tmp_path: Path) -> None:
    folder, hierarchies = make_group(tmp_path, os.getpid())
    assert apply_limits(LIMITS, hierarchies, OWN) == []
    assert {one.name: one.read_text() for one in folder.iterdir() if "procs" not in one.name} == {
        "cpu.max": "25000 100000",
        "cpu.weight": "10",
        "memory.max": str(100 << 20),
        "memory.high": str(90 << 20),
    }


def test_a_group_of_others_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        _, hierarchies = make_group(tmp_path / "own", os.getpid(), child.pid)
        assert find_own_group(hierarchies, OWN) is not None
        _, hierarchies = make_group(tmp_path / "others", os.getpid(), os.getppid())
        assert find_own_group(hierarchies, OWN) is None


def test_the_root_of_all_groups_is_nobodys_own(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert find_own_group([Hierarchy(tmp_path, 0)], {0: "/"}) is None


def test_what_the_kernel_refuses_is_said(tmp_path: Path) -> None:
    folder, hierarchies = make_group(tmp_path, os.getpid())
    (folder / "memory.max").mkdir()
    [sentence] = apply_limits(Limits(memory=1 << 20), hierarchies, OWN)
    assert sentence.startswith(f"memory.max cannot be set in {folder}: Is a directory")
