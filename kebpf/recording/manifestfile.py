"""``test-set.yaml``: the manifest of a test set, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from kebpf.recording.model import FORMAT_VERSION, Losses, Manifest
from kebpf.recording.yamltext import dump_yaml, load_yaml

_REQUIRED = ("name", "version", "test_cases", "mocks")
_WHEN_VERIFIED = ("set_apart", "verified")


class NewerVersionError(ValueError):
    """The test set was written by a newer kebpf; the text is its version."""


def write_manifest(manifest: Manifest) -> str:
    """The file of a manifest, the version first."""
    tree = asdict(manifest)
    for key in _WHEN_VERIFIED:
        if not tree[key]:
            del tree[key]
    return dump_yaml({"version": tree.pop("version")} | tree)


def read_manifest(text: str | bytes) -> Manifest:
    """The manifest in a file.  Raises ``YamlError``, ``NewerVersionError``, ``ValueError``."""
    tree = load_yaml(text)
    if not isinstance(tree, dict):
        raise ValueError("it does not hold a manifest")
    for key in _REQUIRED:
        if key not in tree:
            raise ValueError(f"{key!r} is missing")
    version = tree["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"version: a whole number from 1 is expected, not {version!r}")
    if version > FORMAT_VERSION:
        raise NewerVersionError(str(version))
    return manifest_of_tree(tree)


def manifest_of_tree(tree: dict[str, Any]) -> Manifest:
    """A manifest of its fields by name; others are left out.  Raises ``ValueError``."""
    known = {field.name for field in fields(Manifest)}
    values: dict[str, Any] = _defaults() | {key: tree[key] for key in tree if key in known}
    losses = values["losses"]
    try:
        values["losses"] = Losses(**losses) if losses else Losses()
        for key in ("test_cases", "mocks"):
            values[key] = int(values[key])
        return Manifest(**values)
    except TypeError as error:
        raise ValueError(f"a value has the wrong type ({error})") from error


def _defaults() -> dict[str, Any]:
    return {
        "created_ns": 0,
        "kebpf_version": "",
        "kernel": "",
        "command": [],
        "executable": "",
        "ports": [],
        "losses": None,
    }
