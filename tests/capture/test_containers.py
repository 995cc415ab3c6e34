"""Containers by the names of control groups that managers give, and by what managers answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.capture.containers import find_container
from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.kernel.hierarchies import Hierarchy, list_memberships
from tests.capture.groups import make_command, make_tree, own_pid

ID = "3f9a" + "0123456789ab" * 5
OTHER = "3f9b" + ID[4:]
POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b2c_3d.slice"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def make_one(tmp_path: Path, *places: str, number: int = 0) -> Hierarchy:
    members = {place: [own_pid()] for place in places}
    return make_tree(tmp_path / f"tree{number}", members, number)


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    "place",
    [
        f"system.slice/docker-{ID}.scope",
        f"docker/{ID}",
        f"machine.slice/libpod-{ID}.scope",
        f"libpod_parent/libpod-{ID}",
        f"{POD}/cri-containerd-{ID}.scope",
        f"{POD}/crio-{ID}.scope",
        f"kubepods/besteffort/pod0a1b/{ID}",
        f"system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}",
        f"user.slice/user-1.slice/user@1.service/user.slice/libpod-{ID}.scope",
        f"system.slice/nerdctl-{ID}.scope",
    ],
)
@pytest.mark.parametrize("wanted", [ID, ID[:12], "3f9a"])
def test_by_id_under_every_manager(tmp_path: Path, place: str, wanted: str) -> None:
    found = find_container(wanted, [make_one(tmp_path, place, "system.slice/shop.service")])
    assert found.group.path == f"/{place}"
    assert found.name == ID[:12]


@pytest.mark.usefixtures("commands")
def test_its_processes_may_be_in_groups_below(tmp_path: Path) -> None:
    """systemd inside a container, or crun's own group."""
    tree = make_one(tmp_path, f"machine.slice/libpod-{ID}.scope/container")
    assert find_container(ID, [tree]).group.path == f"/machine.slice/libpod-{ID}.scope"


@pytest.mark.usefixtures("commands")
def test_what_watches_a_container_is_not_in_it(tmp_path: Path) -> None:
    tree = make_one(
        tmp_path,
        f"machine.slice/libpod-conmon-{ID}.scope",
        f"{POD}/crio-conmon-{ID}.scope",
        f"machine.slice/libpod-{ID}.scope",
    )
    assert find_container(ID, [tree]).group.path == f"/machine.slice/libpod-{ID}.scope"


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    ("place", "name"),
    [("lxc.payload.web", "web"), ("machine.slice/machine-web.scope", "web")],
)
def test_those_without_ids(tmp_path: Path, place: str, name: str) -> None:
    found = find_container(name, [make_one(tmp_path, place)])
    assert (found.group.path, found.name) == (f"/{place}", name)
    with pytest.raises(NoTargetError):
        find_container(name[:2], [make_one(tmp_path, place)])


@pytest.mark.usefixtures("commands")
def test_version_1_where_version_2_has_none_of_it(tmp_path: Path) -> None:
    old = make_one(tmp_path, f"docker/{ID}", number=3)
    empty = make_tree(tmp_path / "v2", {f"docker/{ID}": []})
    assert find_container(ID, [empty, old]).group.hierarchy is old
    both = make_one(tmp_path, f"docker/{ID}")
    assert find_container(ID, [both, old]).group.hierarchy is both


@pytest.mark.usefixtures("commands")
def test_the_beginning_of_two(tmp_path: Path) -> None:
    tree = make_one(tmp_path, f"docker/{ID}", f"docker/{OTHER}")
    with pytest.raises(TargetError, match=f"2 containers begin with 3f9: {ID}, {OTHER}$"):
        find_container("3f9", [tree])
    assert find_container("3f9b", [tree]).group.path == f"/docker/{OTHER}"


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("wanted", ["0000", "web", ID[:-1] + "0"])
def test_one_that_is_not_there(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(NoTargetError, match=f"no running container is called {wanted} or has"):
        find_container(wanted, [make_one(tmp_path, f"docker/{ID}")])


@pytest.mark.parametrize("wanted", ["", "a/b", "--latest"])
def test_what_is_no_id(wanted: str) -> None:
    with pytest.raises(TargetError, match="is no id or name of a container"):
        find_container(wanted, [])


@pytest.mark.parametrize("manager", ["docker", "podman", "nerdctl"])
def test_a_name_that_its_manager_knows(tmp_path: Path, commands: Path, manager: str) -> None:
    asked = make_command(commands, manager, f"{ID} {own_pid()} /web\n")
    found = find_container("web", [make_one(tmp_path, f"docker/{ID}", f"docker/{OTHER}")])
    assert (found.group.path, found.name) == (f"/docker/{ID}", "web")
    assert asked.read_text().split()[-1] == "web"


def test_one_that_does_not_run(tmp_path: Path, commands: Path) -> None:
    make_command(commands, "podman", f"{ID} 0 web\n")
    with pytest.raises(NoTargetError, match="web is not running: start it with `podman start web`"):
        find_container("web", [make_one(tmp_path)])


@pytest.mark.parametrize(("output", "status"), [("Cannot connect", 1), ("what?", 0), ("", 0)])
def test_a_manager_that_does_not_answer(
    tmp_path: Path, commands: Path, output: str, status: int
) -> None:
    make_command(commands, "docker", output, status)
    assert find_container("3f9a", [make_one(tmp_path, f"docker/{ID}")]).name == ID[:12]


def test_a_manager_of_another_machine(tmp_path: Path, commands: Path) -> None:
    """The process it names is some other one's here."""
    make_command(commands, "docker", f"{OTHER} {own_pid()} web\n")
    assert OTHER not in " ".join(list_memberships(own_pid()).values())
    with pytest.raises(NoTargetError, match="no running container is called web"):
        find_container("web", [make_one(tmp_path, f"docker/{ID}")])
