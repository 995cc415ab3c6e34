"""Finds the test sets a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kebpf.cli.errors import CommandUsageError, KebpfError, NothingToRunError

MANIFEST_NAME = "test-set.yaml"


def is_test_set(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


def list_test_sets(folder: Path) -> list[Path]:
    """The test sets directly under ``folder``, by name; hidden ones are not whole yet."""
    if not folder.is_dir():
        return []
    named = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in named if is_test_set(path))


def find_test_sets(names: Sequence[str], folder: Path) -> list[Path]:
    """The folders of ``names``, each a name under ``folder`` or a path; all when none is named.

    A folder of test sets counts as all of them.  Raises `CommandUsageError` for a name that is
    neither, `NothingToRunError` when there is nothing at all, `KebpfError` for what cannot be read.
    """
    try:
        return _find_test_sets(names, folder)
    except OSError as error:
        raise KebpfError(
            f"{error.filename} cannot be read: {error.strerror}", hint="run as its owner"
        ) from error


def _find_test_sets(names: Sequence[str], folder: Path) -> list[Path]:
    if names:
        found = [path for name in names for path in _find_named(name, folder)]
        return list(dict.fromkeys(found))
    found = list_test_sets(folder)
    if not found:
        raise NothingToRunError(
            f"there is no test set under {folder}/",
            hint="record one first: sudo kebpf record --pid PID",
        )
    return found


def _find_named(name: str, folder: Path) -> list[Path]:
    for path in (folder / name, Path(name)):
        if is_test_set(path):
            return [path]
    inside = list_test_sets(Path(name))
    if inside:
        return inside
    if (folder / name).is_dir():
        return [folder / name]  # what is wrong with it is said when it is opened
    if "/" in name and Path(name).exists():
        return [Path(name)]
    known = ", ".join(path.name for path in list_test_sets(folder)) or "none"
    raise CommandUsageError(f"there is no test set {name!r} (under {folder}/ there are: {known})")
