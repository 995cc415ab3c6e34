"""Units by a systemctl that answers as told, and by made-up trees of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.capture.units import complete_name, find_unit
from tests.capture.groups import make_command, make_tree, own_pid

SHOP = "system.slice/shop.service"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def tell(load: str, active: str, group: str) -> str:
    return f"LoadState={load}\nActiveState={active}\nControlGroup={group}\n"


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("shop", "shop.service"),
        ("shop@1", "shop@1.service"),
        ("run-1.scope", "run-1.scope"),
        ("system.slice", "system.slice"),
        ("shop.web", "shop.web.service"),
    ],
)
def test_a_name_is_a_services_unless_it_says_otherwise(name: str, whole: str) -> None:
    assert complete_name(name) == whole


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop.socket", "no processes of its own: .* such as shop.service"),
        ("", "is no name of a unit"),
        ("/etc/systemd/system/shop.service", "is no name of a unit"),
        ("--user", "is no name of a unit"),
    ],
)
def test_names_of_none(name: str, sentence: str) -> None:
    with pytest.raises(TargetError, match=sentence):
        complete_name(name)


def test_systemd_says_where_it_is(tmp_path: Path, commands: Path) -> None:
    asked = make_command(commands, "systemctl", tell("loaded", "active", f"/{SHOP}"))
    tree = make_tree(tmp_path / "v2", {SHOP: [own_pid()], "user.slice/shop.service": [own_pid()]})
    assert find_unit("shop.service", [tree]).path == f"/{SHOP}"
    assert asked.read_text().split()[-1] == "shop.service"


def test_where_version_2_is_not_what_systemd_uses(tmp_path: Path, commands: Path) -> None:
    make_command(commands, "systemctl", tell("loaded", "active", f"/{SHOP}"))
    second = make_tree(tmp_path / "v2", {SHOP: []})
    named = make_tree(tmp_path / "systemd", {SHOP: [own_pid()]}, number=4)
    assert find_unit("shop.service", [second, named]).hierarchy is named


@pytest.mark.parametrize("has_folder", [False, True])
@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_unit_that_does_not_run(
    tmp_path: Path, commands: Path, has_folder: bool, state: str
) -> None:
    make_command(commands, "systemctl", tell("loaded", state, f"/{SHOP}" if has_folder else ""))
    tree = make_tree(tmp_path / "v2", {SHOP: []} if has_folder else {})
    with pytest.raises(
        NoTargetError,
        match=rf"shop.service is not running \({state}\): .*`systemctl start shop.service`",
    ):
        find_unit("shop.service", [tree])


def test_a_unit_that_does_not_exist(tmp_path: Path, commands: Path) -> None:
    make_command(commands, "systemctl", tell("not-found", "inactive", ""))
    with pytest.raises(NoTargetError, match=r"there is no unit shop\.service: find"):
        find_unit("shop.service", [make_tree(tmp_path / "v2", {})])


def test_a_users_unit_is_known_by_its_folder(tmp_path: Path, commands: Path) -> None:
    make_command(commands, "systemctl", tell("not-found", "inactive", ""))
    place = "user.slice/user-7.slice/user@7.service/app.slice/shop.service"
    tree = make_tree(tmp_path / "v2", {place: [], f"{place}/worker": [own_pid()]})
    assert find_unit("shop.service", [tree]).path == f"/{place}"


def test_units_of_two_users(tmp_path: Path, commands: Path) -> None:
    make_command(commands, "systemctl", tell("not-found", "inactive", ""))
    places = [f"user.slice/{user}/shop.service" for user in (7, 8)]
    tree = make_tree(tmp_path / "v2", {place: [own_pid()] for place in places})
    with pytest.raises(TargetError, match=r"several units are called shop\.service") as raised:
        find_unit("shop.service", [tree])
    assert all(str(tree.mount / place) in str(raised.value) for place in places)


@pytest.mark.parametrize("is_there", [False, True])
def test_without_systemd_the_tree_is_asked(tmp_path: Path, commands: Path, is_there: bool) -> None:
    if is_there:  # as in a container
        make_command(commands, "systemctl", "System has not been booted with systemd", 1)
    tree = make_tree(tmp_path / "v2", {SHOP: [own_pid()]})
    assert find_unit("shop.service", [tree]).path == f"/{SHOP}"
    with pytest.raises(NoTargetError, match=r"no web\.service runs here, and systemd does not"):
        find_unit("web.service", [tree])
    empty = make_tree(tmp_path / "empty", {SHOP: []})
    with pytest.raises(NoTargetError, match=r"shop.service is not running: start it"):
        find_unit("shop.service", [empty])
