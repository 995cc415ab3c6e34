"""How xdist divides recorded cases: those that depend on one another go to one worker."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from kebpf.protocols.registry import load_protocols
from kebpf.recording.errors import TestSetError
from kebpf.recording.store import TestSet
from kebpf.replay.dependencies import group_cases

OURS = ("load", "worksteal", "loadgroup")  # the others keep files whole, and so test sets


def make_scheduler(config: pytest.Config, log: Any, files: Collection[Path]) -> Any:
    """A scheduler of ours in place of one that would part cases; ``None``: xdist's own will do."""
    if config.getvalue("dist") not in OURS:
        return None
    return CaseScheduling(config, log, files)


def find_groups(file: Path) -> dict[str, int]:
    """The number of its group by the name of a case of a test set."""
    try:
        test_set = TestSet.open(file.parent)
        cases = test_set.cases()
    except TestSetError:  # told when it is collected
        return {}
    find = load_protocols().__getitem__
    groups = group_cases(cases, lambda: (mock for _, mock in test_set.iter_mocks()), find)
    return {case.name: number for number, group in enumerate(groups) for case in group}


class CaseScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out groups of cases, and other tests as ``--dist loadgroup`` does."""

    def __init__(self, config: pytest.Config, log: Any, files: Collection[Path]) -> None:
        super().__init__(config, log)
        self._root = config.rootpath
        self._groups = {file: find_groups(file) for file in files}

    def _split_scope(self, nodeid: str) -> str:
        """What must stay together with a test; a set whose file is not known stays whole."""
        path, _, name = nodeid.partition("::")
        groups = self._groups.get((self._root / path).resolve())
        if groups is None:
            is_set = any(path.endswith(file.name) for file in self._groups)
            return path if is_set else nodeid.rpartition("@")[2]
        return f"{path}::{groups.get(name, name)}"
