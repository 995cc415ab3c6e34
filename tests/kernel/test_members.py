"""The processes of a network namespace, against processes that the test put there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.kernel.members import Network

pytestmark = pytest.mark.kernel

SHELL = "sleep 600 & setsid sleep 600 & echo $$ $!; wait; exec sleep 600"


@contextmanager
def namespace() -> Iterator[tuple[int, list[int], int]]:
    """The inode of a new namespace, its processes, and one that is outside."""
    words = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", SHELL]
    outside = subprocess.Popen(["sleep", "600"])
    inside = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert inside.stdout is not None
        shell = int(inside.stdout.readline().split()[0])
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        inode = Path(f"/proc/{shell}/ns/net").stat().st_ino
        yield inode, [shell, *map(int, children)], outside.pid
    finally:
        for process in (inside, outside):
            process.kill()
            process.communicate()


def test_members_are_those_inside_but_ours() -> None:
    with namespace() as (inode, pids, outside):
        assert outside not in pids and len(pids) == 3
        assert sorted(Network(inode).find_members()) == sorted(pids)
        assert Network(inode, frozenset(pids[:1])).find_members() == sorted(pids[1:])
        Network(inode).kill_members()


def test_all_members_are_ended_and_nobody_else() -> None:
    with namespace() as (inode, pids, outside):
        network = Network(inode, frozenset(pids[:1]))
        network.kill_members()
        assert network.find_members() == []
        assert all(Path(f"/proc/{pid}/ns/net").exists() for pid in (pids[0], outside))
