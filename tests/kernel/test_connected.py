"""Whose a connected socket is, told by its control group."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kebpf.kernel.cgroup import find_cgroup2_mount
from kebpf.kernel.connected import find_cgroup_of, list_cgroups

pytestmark = pytest.mark.kernel


def own_cgroup() -> Path:
    line = next(
        one for one in Path("/proc/self/cgroup").read_text().splitlines() if one[:3] == "0::"
    )
    return find_cgroup2_mount() / line[3:].strip("/")


@pytest.mark.parametrize(("family", "host"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_a_socket_is_of_the_group_of_who_made_it(family: str, host: str) -> None:
    with socket.create_server((host, 0), family=socket.AddressFamily[family]) as server:
        port = server.getsockname()[1]
        with socket.create_connection((host, port)) as client:
            name = client.getsockname()[:2]
            assert find_cgroup_of(name, (host, port)) == own_cgroup().stat().st_ino
            assert find_cgroup_of((host, 1), (host, port)) is None


def test_the_groups_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "file").touch()
    folders = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert list_cgroups(tmp_path) == {one.stat().st_ino for one in folders}
