"""Labels of containers, from files as Docker and containerd write them and from what they print."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from kebpf.agent.labels import LabelReader, find_container_id

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope/inner",
        f"/machine.slice/libpod-{ID}.scope/container",
    ],
)
def test_the_id_is_found_in_the_group(path: str) -> None:
    assert find_container_id(PurePosixPath(path)) == ID


def test_other_groups_are_no_containers() -> None:
    for path in ("/", "/system.slice/shop.service", f"/docker/{ID[:-1]}"):
        assert find_container_id(PurePosixPath(path)) is None


def write(path: Path, tree: object) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(tree))


def test_labels_that_docker_keeps(tmp_path: Path) -> None:
    path = tmp_path / f"var/lib/docker/containers/{ID}/config.v2.json"
    write(path, {"ID": ID, "Config": {"Image": "x", "Labels": {"app": "shop", "tier": ""}}})
    for wanted, has in (
        ("app=shop", True),
        ("app", True),
        ("tier=", True),
        ("app=pay", False),
        ("other", False),
    ):
        assert LabelReader(wanted, tmp_path).has_label(ID) is has


def test_annotations_that_containerd_keeps(tmp_path: Path) -> None:
    path = tmp_path / f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"
    write(path, {"annotations": {"io.kubernetes.cri.container-name": "shop"}})
    assert LabelReader("io.kubernetes.cri.container-name=shop", tmp_path).has_label(ID)


def test_a_manager_is_asked_where_no_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    asked = tmp_path / "asked"
    docker.write_text(
        f'#!/bin/sh\n[ "$6" = {ID} ] && echo \'{{"app": "shop"}}\' >> {asked} && cat {asked}\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    reader = LabelReader("app=shop", tmp_path)
    assert [reader.has_label(ID) for _ in range(3)] == [True] * 3
    assert not reader.has_label("f" * 64)
    assert asked.read_text().count("\n") == 1


def test_a_file_that_is_damaged_has_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / f"var/lib/docker/containers/{ID}/config.v2.json"
    trees: list[object] = [[], {"Config": []}, {"Config": {"Labels": None}}]
    for tree in trees:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(tree))
        assert not LabelReader("app", tmp_path).has_label(ID)
