"""Finds the control group of a systemd unit, through systemd or in the tree of groups."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.kernel.hierarchies import Group, Hierarchy, list_below, list_members, read_group
from kebpf.kernel.hierarchies import walk_hierarchy as walk

_SUFFIXES = (".service", ".scope", ".slice")
_OTHER_SUFFIXES = (
    *(".socket", ".timer", ".mount", ".automount", ".target", ".path", ".swap", ".device"),
)
_SYSTEMCTL_SECONDS = 10
_SYSTEMD_HIERARCHY = "name=systemd"  # of version 1, where systemd does not use version 2


def complete_name(name: str) -> str:
    """``shop`` → ``shop.service``.  Raises `TargetError` for what has no processes."""
    if not name or "/" in name or name.startswith("-"):
        raise TargetError(f"{name!r} is no name of a unit: see them with `systemctl list-units`")
    if name.endswith(_OTHER_SUFFIXES):
        raise TargetError(
            f"{name} has no processes of its own: give a service, a scope or a slice, "
            f"such as {name.rpartition('.')[0]}.service"
        )
    return name if name.endswith(_SUFFIXES) else f"{name}.service"


def find_unit(name: str, hierarchies: list[Hierarchy]) -> Group:
    """The group of a unit that runs; ``name`` is a whole one.

    Units of users are known by the tree of groups alone.  Raises `TargetError`.
    """
    answer = _ask_systemd(name)
    is_known = answer.get("LoadState", "not-found") != "not-found"
    group = _find_folder(answer.get("ControlGroup", ""), hierarchies)
    if group is None and not is_known:
        group = _search(name, hierarchies)
    if group is not None and any(list_members(one) for one in list_below(group)):
        return group
    if is_known or group is not None:
        state = answer.get("ActiveState", "")
        told = f" ({state})" if state else ""
        raise NoTargetError(f"{name} is not running{told}: start it with `systemctl start {name}`")
    if answer:
        raise NoTargetError(
            f"there is no unit {name}: find the right one with `systemctl list-units --all`"
        )
    raise NoTargetError(
        f"no {name} runs here, and systemd does not answer: give the process with --pid, or its "
        "control group with --cgroup"
    )


def _ask_systemd(name: str) -> dict[str, str]:
    """What systemctl says of a unit; empty where it is not there or cannot reach systemd."""
    properties = "LoadState,ActiveState,ControlGroup"
    try:
        done = subprocess.run(
            ["systemctl", "show", "--property", properties, "--", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def _find_folder(path: str, hierarchies: list[Hierarchy]) -> Group | None:
    """In hybrid layouts the version 2 folder may be there and hold nothing."""
    found = None
    for hierarchy in _of_systemd(hierarchies) if path.strip("/") else ():
        group = read_group(hierarchy.find_folder(path), hierarchies)
        if group is not None and any(list_members(one) for one in list_below(group)):
            return group
        found = found or group
    return found


def _of_systemd(hierarchies: list[Hierarchy]) -> list[Hierarchy]:
    return [one for one in hierarchies if not one.number or _SYSTEMD_HIERARCHY in one.controllers]


def _search(name: str, hierarchies: list[Hierarchy]) -> Group | None:
    """Raises `TargetError` when several are called so, as units of users may be."""
    for hierarchy in _of_systemd(hierarchies):
        folders = [folder for folder in walk(hierarchy) if folder.name == name]
        if len(folders) > 1:
            raise TargetError(
                f"several units are called {name}: give the one you mean with --cgroup, "
                f"one of {_join(folders)}"
            )
        if folders:
            return read_group(folders[0], hierarchies)
    return None


def _join(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)
