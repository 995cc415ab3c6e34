"""Finds the control group of a container by its id, or by its name where its manager answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.kernel.hierarchies import (
    Group,
    Hierarchy,
    list_below,
    list_members,
    list_memberships,
    read_group,
    walk_hierarchy,
)

# docker-ID.scope, libpod-ID.scope, cri-containerd-ID.scope, crio-ID.scope and the like under
# systemd; the id alone (below docker/, kubepods/…/podUID/), libpod-ID or crio-ID otherwise
_ID_FOLDER = re.compile(r"(?:.+[-_:])?([0-9a-f]{64})(?:\.scope)?")
_ID = re.compile(r"[0-9a-f]{64}")
_HELPER = re.compile(r".*conmon-[0-9a-f]{64}(?:\.scope)?")  # watches a container, is not in it
_NAME_FOLDER = re.compile(r"lxc\.payload\.(.+)|machine-(.+)\.scope")  # LXC, systemd-nspawn
_SHORT = 12
MANAGERS = ("docker", "podman", "nerdctl")
_MANAGER_SECONDS = 10
_MOST_LISTED = 5


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs; ``name`` is its id's beginning where no better one is known."""

    group: Group
    name: str


@dataclass(frozen=True, slots=True)
class _Told:
    """What a container's manager says of it; ``pid`` is 0 when it does not run."""

    manager: str
    id: str
    name: str
    pid: int


def find_container(wanted: str, hierarchies: list[Hierarchy]) -> Container:
    """By id, beginning of an id, or name.  Raises `TargetError`."""
    if not wanted or "/" in wanted or wanted.startswith("-"):
        raise TargetError(f"{wanted!r} is no id or name of a container: see them with `docker ps`")
    told = _ask_managers(wanted)
    if told is not None and not told.pid:
        raise NoTargetError(
            f"the container {told.name} is not running: start it with "
            f"`{told.manager} start {told.name}`"
        )
    found = dict(_list_containers(hierarchies))
    if told is not None:
        group = found.get(told.id) or _find_by_process(told, hierarchies)
        if group is not None:
            return Container(group, told.name)
    return _choose(wanted, found)


def _choose(wanted: str, found: dict[str, Group]) -> Container:
    matching = [wanted] if wanted in found else [one for one in found if _begins(one, wanted)]
    if len(matching) > 1:
        shown = ", ".join(sorted(matching)[:_MOST_LISTED])
        more = f" and {len(matching) - _MOST_LISTED} more" if len(matching) > _MOST_LISTED else ""
        raise TargetError(f"{len(matching)} containers begin with {wanted}: {shown}{more}")
    if not matching:
        raise NoTargetError(
            f"no running container is called {wanted} or has an id that begins so: see them with "
            "`docker ps` or `crictl ps`, or give its control group with --cgroup"
        )
    [one] = matching
    return Container(found[one], one[:_SHORT] if _is_id(one) else one)


def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def _begins(one: str, wanted: str) -> bool:
    """Only of ids: a name has to be whole."""
    return _is_id(one) and one.startswith(wanted)


def _list_containers(hierarchies: list[Hierarchy]) -> Iterator[tuple[str, Group]]:
    """Id or name, and group: those of version 2 last, so that they win in a dict of them."""
    for hierarchy in reversed(hierarchies):
        for folder in walk_hierarchy(hierarchy):
            name = _read_id(folder.name)
            group = read_group(folder, hierarchies) if name else None
            if group is not None and any(list_members(one) for one in list_below(group)):
                yield name, group


def _read_id(folder: str) -> str:
    if _HELPER.fullmatch(folder):
        return ""
    if match := _ID_FOLDER.fullmatch(folder):
        return match[1]
    match = _NAME_FOLDER.fullmatch(folder)
    return (match[1] or match[2]) if match else ""


def _find_by_process(told: _Told, hierarchies: list[Hierarchy]) -> Group | None:
    """Containers may be put into any group (``--cgroup-parent``); its name has the id in it."""
    for number, path in list_memberships(told.pid).items():
        at = path.find(told.id)
        if at < 0:  # the manager is on another machine: that process has nothing to do with it
            continue
        end = path.find("/", at)
        for hierarchy in hierarchies:
            if hierarchy.number == number:
                return read_group(
                    hierarchy.find_folder(path if end < 0 else path[:end]), hierarchies
                )
    return None


def _ask_managers(wanted: str) -> _Told | None:
    for manager in MANAGERS:
        told = _ask(manager, wanted)
        if told is not None:
            return told
    return None


def _ask(manager: str, wanted: str) -> _Told | None:
    """``None`` where it is not there, does not answer, or does not know of such a container."""
    template = "{{.Id}} {{.State.Pid}} {{.Name}}"
    try:
        done = subprocess.run(
            [manager, "inspect", "--type", "container", "--format", template, "--", wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MANAGER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split() if done.returncode == 0 else []
    if len(words) != 3 or not words[1].isdigit():
        return None
    return _Told(manager, words[0], words[2].lstrip("/"), int(words[1]))
