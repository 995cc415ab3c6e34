"""What the agent knows over its own restarts: a small file, replaced whole or not at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

FORMAT = 1
STATE_NAME = ".agent.json"
_MOST_SIZE = 1 << 20


class StateFile:
    """By target: the last version, set and error.  ``warning`` says what was wrong with it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATE_NAME
        self._written = ""
        self.warning = ""
        self.targets: dict[str, dict[str, Any]] = self._read()

    def write(self, targets: dict[str, dict[str, Any]]) -> None:
        """Does nothing when nothing is new.  Raises ``OSError``."""
        text = json.dumps({"format": FORMAT, "targets": targets}, sort_keys=True, indent=1)
        if text == self._written:
            return
        temporary = self._path.with_name(f"{STATE_NAME}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path)
        self._written = text

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return _check(json.loads(file.read(_MOST_SIZE)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            self.warning = f"{self._path} cannot be used: {reason}; {self._put_aside()}"
            return {}

    def _put_aside(self) -> str:
        number = 1
        while (aside := self._path.with_name(f"{STATE_NAME}.damaged-{number}")).exists():
            number += 1
        with suppress(OSError):
            self._path.rename(aside)
            return f"it was put aside as {aside.name} and a new one is begun"
        return "a new one is begun"


def _check(tree: Any) -> dict[str, dict[str, Any]]:
    """Raises ``ValueError`` for what no agent has written."""
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise ValueError("no state of an agent")
    targets = tree.get("targets")
    if not isinstance(targets, dict) or not all(isinstance(one, dict) for one in targets.values()):
        raise ValueError("no state of an agent")
    return targets
