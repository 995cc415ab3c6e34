"""What a test set of the agent's is called: by the day and the version, each name once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def choose_folder(parent: Path, day: str, version: str, taken: Collection[Path]) -> Path:
    """``parent/2026-11-23-3f9a1c22d0b7``, with a number behind it from the second one on.

    Those that are being written count too, whoever writes them.
    """
    stem = f"{day}-{version}"
    try:
        names = {path.name for path in parent.iterdir()}
    except OSError:
        names = set()
    number, name = 1, stem
    while parent / name in taken or name in names or _is_begun(name, names):
        number += 1
        name = f"{stem}-{number}"
    return parent / name


def _is_begun(name: str, names: Collection[str]) -> bool:
    return any(other.startswith(f".{name}.") for other in names)
