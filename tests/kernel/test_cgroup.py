"""Control groups: where they are mounted, and one made, used and removed for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kebpf.kernel import cgroup
from kebpf.kernel.cgroup import find_cgroup2_mount, make_cgroup, remove_cgroup
from kebpf.kernel.errors import KernelError

UNIFIED = """\
25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
35 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
"""
HYBRID = """\
34 25 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,mode=755
36 34 0:31 / /sys/fs/cgroup/systemd rw,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
35 34 0:30 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
38 34 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
"""
CONTAINER = """\
612 600 0:30 /../../system.slice /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw,nsdelegate
"""
SPACES = "35 34 0:30 / /mnt/c\\040groups\\134\u00e9 rw - cgroup2 none rw\n"
VERSION_1 = "38 34 0:33 / /sys/fs/cgroup/cpu rw,relatime shared:15 - cgroup cgroup2 rw,cpu\n"


@pytest.mark.parametrize(
    ("mountinfo", "place"),
    [
        (UNIFIED, "/sys/fs/cgroup"),
        (HYBRID, "/sys/fs/cgroup/unified"),
        (CONTAINER, "/sys/fs/cgroup"),
        (SPACES, "/mnt/c groups\\\u00e9"),
    ],
)
def test_where_it_is_mounted(tmp_path: Path, mountinfo: str, place: str) -> None:
    file = tmp_path / "mountinfo"
    file.write_text(mountinfo)
    assert find_cgroup2_mount(file) == Path(place)


def test_version_1_only_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_text(VERSION_1)
    with pytest.raises(KernelError, match="no version 2 control groups") as raised:
        find_cgroup2_mount(file)
    assert "mount -t cgroup2" in raised.value.hint


def start_in(folder: Path, ignores: bool = False) -> subprocess.Popen[bytes]:
    """A process in a group; one that ignores SIGTERM if asked."""
    trap = "trap '' TERM; " if ignores else ""
    text = f'echo $$ >"$0/cgroup.procs"; echo in; {trap}while :; do sleep 60; done'
    process = subprocess.Popen(["/bin/sh", "-c", text, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    return process


@pytest.mark.kernel
def test_a_group_goes_with_all_that_runs_in_it() -> None:
    with make_cgroup() as made, make_cgroup() as other:
        assert made != other
        folder = made.path
        below = folder / "workers" / "one"
        below.mkdir(parents=True)
        processes = [start_in(folder), start_in(folder, ignores=True), start_in(below)]
        assert str(processes[0].pid) in (folder / "cgroup.procs").read_text().split()
    assert not folder.exists()
    assert not other.path.exists()
    for process in processes:
        assert process.wait() == -9
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.kernel
def test_without_cgroup_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.14 there is no such file."""
    write_text = Path.write_text

    def refuse(path: Path, *arguments: str) -> int:
        if path.name == "cgroup.kill":
            raise FileNotFoundError(path)
        return write_text(path, *arguments)

    with make_cgroup() as made:
        (made.path / "below").mkdir()
        processes = [start_in(made.path), start_in(made.path / "below")]
        monkeypatch.setattr(Path, "write_text", refuse)
    assert not made.path.exists()
    for process in processes:
        assert process.wait() == -9
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.kernel
def test_removing_it_twice_is_fine() -> None:
    with make_cgroup() as made:
        remove_cgroup(made.path)
    assert not made.path.exists()


def test_where_none_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mountinfo"
    file.write_text(f"35 25 0:30 / {tmp_path}/gone rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(cgroup.find_cgroup2_mount, "__defaults__", (file,))
    with pytest.raises(KernelError, match="cannot be made in"), make_cgroup():
        pass


@pytest.mark.kernel
def test_what_a_killed_run_left_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    left = find_cgroup2_mount() / f"kebpf-test-{gone}"
    left.mkdir()
    with make_cgroup():
        assert left.exists(), "too young: another container may be about to use it"
    monkeypatch.setattr(cgroup, "_STALE_SECONDS", -1.0)
    with make_cgroup():
        assert not left.exists()
