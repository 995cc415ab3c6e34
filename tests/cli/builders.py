"""A folder with test sets and command modules that only keep what they were asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class Calls:
    """Stands in for the command modules and keeps what they were asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.result: Callable[[], int] = lambda: 0
        for module, function in (
            ("record", "record"),
            ("test", "run_test"),
            ("show", "show"),
            ("doctor", "doctor"),
        ):
            fake = ModuleType(f"kebpf.cli.{module}")
            setattr(fake, function, self.take)
            patch.setitem(sys.modules, fake.__name__, fake)

    def take(self, *arguments: Any) -> int:
        self.asked.append(arguments)
        return self.result()

    def raise_error(self, error: BaseException) -> None:
        def result() -> int:
            raise error

        self.result = result


def make_calls(patch: pytest.MonkeyPatch, folder: Path) -> Calls:
    """Goes to ``folder``, which then has two test sets, and replaces the command modules."""
    patch.chdir(folder)
    make_set(folder / "kebpf" / "shop-1")
    make_set(folder / "kebpf" / "shop-2")
    return Calls(patch)


def make_set(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "test-set.yaml").write_text("name: x\n")
