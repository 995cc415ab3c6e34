"""What came in with the case now running: its request, and the answers to its calls."""

from __future__ import annotations

from typing import Any

from kebpf.recording.intake import Intake

MOST_TEXT = 4 << 20  # characters of one case that are searched


class Arrivals:
    """Of one case at a time, as it was sent: in the run's own values.  Of no case, nothing."""

    def __init__(self) -> None:
        self._has_case = False
        self._trees: list[Any] = []
        self._texts: list[str] = []
        self._size = 0
        self._found: dict[str, bool] = {}

    def begin(self, has_case: bool) -> None:
        """What came in before counts no more."""
        self._has_case = has_case
        self._trees, self._texts, self._size, self._found = [], [], 0, {}

    def add(self, tree: Any) -> None:
        """Takes a request or an answer; it is read only when something is looked for."""
        if self._has_case:
            self._trees.append(tree)

    def hold(self, token: str) -> bool:
        """Whether the token came in, in any form in which values are written: dashes aside."""
        if self._trees:
            self._read()
        found = self._found.get(token)
        if found is None:
            plain = _without_dashes(token.lower())
            found = any(plain in text for text in self._texts)
            self._found[token] = found
        return found

    def _read(self) -> None:
        self._found = {}
        for tree in self._trees:
            intake = Intake(tree)
            if self._size + intake.size <= MOST_TEXT:
                self._texts += map(_without_dashes, intake.texts)
                self._size += intake.size
        self._trees = []


def _without_dashes(text: str) -> str:
    """A UUID is written with them and without."""
    return text.replace("-", "")
