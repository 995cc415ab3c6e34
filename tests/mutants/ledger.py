"""Keeps every outcome in a file as it comes, so that a run that was ended can go on."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.mutants.campaign import Fate, Outcome
from tests.mutants.mutant import Edit, Mutant


class Ledger:
    """The outcomes of all runs since the file was made; of one mutant the last counts."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._unmutated: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._notes: dict[str, str] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._take(json.loads(line))
        self._path = path

    def find(self, mutant: Mutant) -> Outcome | None:
        """What became of it, if it was run as it is now."""
        entry = self._entries.get((mutant.name, mutant.before, mutant.after))
        if entry is None:
            return None
        return Outcome(mutant, Fate(entry["fate"]), entry["why"], entry["alone"])

    def note(self, outcome: Outcome) -> None:
        """A mutant was run."""
        mutant = outcome.mutant
        self._write({
            "mutant": mutant.name, "fate": outcome.fate, "why": outcome.why,
            "alone": outcome.alone, "before": mutant.before, "after": mutant.after,
        })  # fmt: skip

    def note_unmutated(self, application: str, finding: str) -> None:
        """The original was replayed in between; ``finding`` is empty if it passed."""
        self._write({"unmutated": application, "finding": finding})

    def note_application(self, application: str, text: str) -> None:
        """All its mutants that were asked for were run; ``text`` is what to know of them."""
        self._write({"application": application, "text": text})

    def list_notes(self) -> list[str]:
        """The last one of each application."""
        return list(self._notes.values())

    def list_outcomes(self) -> list[Outcome]:
        """All, by application and place, the edits left out."""
        return sorted(map(_read_outcome, self._entries.values()), key=_place_of)

    def count_unmutated(self, application: str) -> tuple[int, int]:
        """How often the original was replayed, and how often it failed."""
        return self._unmutated[application], self._failed[application]

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._take(entry)
            with self._path.open("a", encoding="utf-8") as file:
                print(json.dumps(entry, ensure_ascii=False), file=file)

    def _take(self, entry: dict[str, Any]) -> None:
        if "unmutated" in entry:
            self._unmutated[entry["unmutated"]] += 1
            self._failed[entry["unmutated"]] += bool(entry["finding"])
        elif "application" in entry:
            self._notes[entry["application"]] = entry["text"]
        else:
            self._entries[entry["mutant"], entry["before"], entry["after"]] = entry


def _read_outcome(entry: dict[str, Any]) -> Outcome:
    name = entry["mutant"]
    _, path, line, operator = name.split(":")
    edit = Edit(operator.partition("#")[0], 0, 0, b"", range(int(line), int(line) + 1))
    mutant = Mutant(name, path, edit, entry["before"], entry["after"])
    return Outcome(mutant, Fate(entry["fate"]), entry["why"], entry["alone"])


def _place_of(outcome: Outcome) -> tuple[str, str, int, str]:
    mutant = outcome.mutant
    return mutant.name.partition(":")[0], mutant.path, mutant.line, mutant.name
