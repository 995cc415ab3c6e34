"""The labels of containers: from what their managers keep on disk, else by asking these."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from kebpf.capture.containers import MANAGERS

_ID = re.compile(r"(?:.+[-_:])?([0-9a-f]{64})(?:\.scope)?")
_ASK_SECONDS = 3.0
_MOST_KNOWN = 4096
# docker's own file; what containerd and podman give to runc, by the folder of a container's bundle
_DOCKER = "var/lib/docker/containers/{id}/config.v2.json"
_BUNDLES = (
    "run/containerd/io.containerd.runtime.v2.task/*/{id}/config.json",
    "var/lib/containers/storage/overlay-containers/{id}/userdata/config.json",
)


def find_container_id(path: PurePosixPath) -> str | None:
    """Of the innermost container a control group's path is of."""
    for part in reversed(path.parts):
        match = _ID.fullmatch(part)
        if match:
            return match[1]
    return None


class LabelReader:
    """Answers for one label, ``app=shop`` or ``app``; what a container has never changes."""

    def __init__(self, wanted: str, root: Path = Path("/")) -> None:
        self._name, self._separator, self._value = wanted.partition("=")
        self._root = root
        self._known: dict[str, bool] = {}

    def has_label(self, container: str) -> bool:
        """Whether the container with this id has it; what nobody knows of has none."""
        if container not in self._known:
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[container] = self._look(container)
        return self._known[container]

    def _look(self, container: str) -> bool:
        for labels in self._read(container):
            if self._name in labels:
                return not self._separator or str(labels[self._name]) == self._value
        return False

    def _read(self, container: str) -> Iterator[dict[str, Any]]:
        docker = _load(self._root / _DOCKER.format(id=container))
        yield _mapping(_mapping(docker.get("Config")).get("Labels"))
        for pattern in _BUNDLES:
            for path in self._root.glob(pattern.format(id=container)):
                yield _mapping(_load(path).get("annotations"))
        yield _ask(container)


def _load(path: Path) -> dict[str, Any]:
    try:
        return _mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ask(container: str) -> dict[str, Any]:
    for manager in MANAGERS:
        template = "{{json .Config.Labels}}"
        try:
            done = subprocess.run(
                [manager, "inspect", "--type", "container", "--format", template, container],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASK_SECONDS,
                check=False,
            )
            labels = _mapping(json.loads(done.stdout)) if done.returncode == 0 else {}
        except (OSError, ValueError, subprocess.TimeoutExpired):
            continue
        if labels:
            return labels
    return {}
