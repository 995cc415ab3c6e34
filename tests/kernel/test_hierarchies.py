"""Control groups of others: what is mounted where, which group a folder is, who is in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kebpf.kernel.cgroup import find_cgroup2_mount, make_cgroup
from kebpf.kernel.hierarchies import (
    Group,
    Hierarchy,
    list_below,
    list_hierarchies,
    list_members,
    list_memberships,
    read_group,
    walk_hierarchy,
)
from tests.kernel.test_cgroup import start_in

HYBRID = """\
34 25 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
36 34 0:31 / /sys/fs/cgroup/systemd rw,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
35 34 0:30 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
38 34 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
39 34 0:33 / /mnt/again rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
40 34 0:33 /docker/ab /mnt/c\\040d rw,relatime - cgroup cgroup rw,memory
"""
MEMBERSHIPS = "9:name=systemd:/\n4:memory:/x:y\n2:cpuacct,cpu:/\n0::/user.slice\n7:pids:/\n"


def test_what_is_mounted_where(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(HYBRID)
    (tmp_path / "cgroup").write_text(MEMBERSHIPS)
    found = list_hierarchies(tmp_path / "mountinfo", tmp_path / "cgroup")
    assert found == [
        Hierarchy(Path("/sys/fs/cgroup/unified"), 0),
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), 2, frozenset({"cpu", "cpuacct"})),
        Hierarchy(Path("/mnt/c d"), 4, frozenset({"memory"}), "/docker/ab"),
        Hierarchy(Path("/sys/fs/cgroup/systemd"), 9, frozenset({"name=systemd"})),
    ]


@pytest.mark.parametrize(
    ("root", "path", "folder"),
    [
        ("/", "/shop.slice/shop.service", "/mnt/shop.slice/shop.service"),
        ("/", "/", "/mnt"),
        ("/docker/ab", "/docker/ab/init", "/mnt/init"),
        ("/docker/ab", "/docker/ab", "/mnt"),
    ],
)
def test_a_path_of_the_kernel_and_its_folder(root: str, path: str, folder: str) -> None:
    hierarchy = Hierarchy(Path("/mnt"), 0, root=root)
    assert os.path.normpath(hierarchy.find_folder(path)) == folder
    assert Group(Path(folder), hierarchy, 1).path == path


def test_a_folder_that_is_no_group(tmp_path: Path) -> None:
    hierarchies = list_hierarchies()
    assert read_group(tmp_path, hierarchies) is None
    assert read_group(find_cgroup2_mount() / "not-there", hierarchies) is None
    assert read_group(Path("/sys"), hierarchies) is None


@pytest.mark.kernel
def test_a_real_group_and_those_below() -> None:
    hierarchies = list_hierarchies()
    with make_cgroup() as made:
        below = made.path / "workers" / "one"
        below.mkdir(parents=True)
        processes = [start_in(made.path), start_in(below)]
        group = read_group(made.path, hierarchies)
        assert group is not None
        assert group.hierarchy.number == 0
        assert group.path == f"/{made.path.name}"
        assert list_memberships(processes[1].pid)[0] == f"{group.path}/workers/one"
        assert [one.folder for one in list_below(group)] == [made.path, below.parent, below]
        assert len({one.id for one in list_below(group)}) == 3
        members = [list_members(one) for one in list_below(group)]  # and the shells' children
        assert processes[0].pid in members[0]
        assert members[1] == []
        assert processes[1].pid in members[2]
        assert processes[1].pid not in members[0]
        assert below in set(walk_hierarchy(group.hierarchy))
        link = read_group(Path("/proc/self/root", *made.path.parts[1:]), hierarchies)
        assert link == group
    for process in processes:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert list_members(group) == []
    assert list_below(group) == []


@pytest.mark.kernel
def test_the_processes_of_a_group_of_threads() -> None:
    """Its cgroup.procs cannot be read (cgroups(7), "Threaded cgroups")."""
    with make_cgroup() as made:
        below = made.path / "threads"
        below.mkdir()
        (below / "cgroup.type").write_text("threaded")
        process = subprocess.Popen(["sleep", "60"])
        (made.path / "cgroup.procs").write_text(str(process.pid))
        (below / "cgroup.threads").write_text(str(process.pid))
        with pytest.raises(OSError, match="not supported"):
            (below / "cgroup.procs").read_text()
        group = read_group(below, list_hierarchies())
        assert group is not None
        assert list_members(group) == [process.pid]
    process.wait()


def test_a_process_that_is_gone_is_in_no_group() -> None:
    beyond = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    assert list_memberships(beyond) == {}
