"""Runs the cases of one test set when they are asked for, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kebpf.recording.model import TestCase
from kebpf.replay.selection import SelectedSet
from kebpf.replay.setrun import Environment, RunOptions, SetRun


class SteppedRun(SetRun):
    """A set's run whose order, and whose end, somebody else decides while it goes on."""

    def __init__(
        self, selected: SelectedSet, options: RunOptions, environment: Environment
    ) -> None:
        super().__init__(selected, options, environment)
        self._cases = {case.name: case for case in selected.cases}
        self._asked: asyncio.Queue[TestCase | None] = asyncio.Queue()

    def ask(self, name: str | None) -> None:
        """Has a case run next; ``None`` ends the run.  Raises ``KeyError`` for an unknown one."""
        self._asked.put_nowait(None if name is None else self._cases[name])

    async def iter_cases(self) -> AsyncIterator[TestCase]:
        """The cases as they are asked for."""
        while (case := await self._asked.get()) is not None:
            yield case
