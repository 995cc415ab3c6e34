"""Replaces many known values in texts, in time that depends on the text and not on their number.

A value is looked up by its first characters wherever a run of letters and digits starts, so a
text costs one dictionary look-up a word however many values there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kebpf.recording import times

_RUN = re.compile(r"[0-9A-Za-z]+", re.ASCII)
_TIME = re.compile(rf"(?:{times.SCAN_PATTERN})(?![0-9A-Za-z])", re.ASCII)
_KEY_SIZE = 8
MOST_INSTANTS = 64  # kept of one second or millisecond


class Substitution:
    """One direction of the bindings: old value → new value, and old instant → new instant."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.instants: dict[str, list[int]] = {}
        self._spans: dict[str, list[tuple[int, int]]] = {}  # key → (anchor, size), longest first

    def add(self, old: str, new: str) -> None:
        """From now on ``old`` is written as ``new``; the first to be added stays."""
        if self.values.setdefault(old, new) != new or len(old) < _KEY_SIZE:
            return
        run = _RUN.search(old)
        if run is None:
            return
        anchor = run.start()
        spans = self._spans.setdefault(old[anchor : anchor + _KEY_SIZE], [])
        if (anchor, len(old)) not in spans:
            spans.append((anchor, len(old)))
            spans.sort(key=lambda span: -span[1])

    @property
    def is_empty(self) -> bool:
        """Whether no text would be another after `apply`."""
        return not self._spans and not self.instants

    def apply(self, text: str) -> str:
        """The text with every known value replaced."""
        if len(text) < _KEY_SIZE or self.is_empty:  # no value is so short, and no time
            return text
        pieces, end = [], 0
        for start, stop, new in self._find(text):
            pieces += [text[end:start], new]
            end = stop
        return "".join([*pieces, text[end:]]) if pieces else text

    def find_replacements(self, text: str) -> Iterator[str]:
        """What would be put into the text, in order."""
        return (new for _, _, new in self._find(text)) if self._spans else iter(())

    def _find(self, text: str) -> Iterator[tuple[int, int, str]]:
        spans, has_instants, end = self._spans, bool(self.instants), 0
        for run in _RUN.finditer(text):
            at = run.start()
            if at < end:
                continue
            found = None
            if text[at : at + _KEY_SIZE] in spans:
                found = self._find_value(text, at, end)
            if found is None and has_instants and (time := _TIME.match(text, at)):
                found = self._find_time(time)
            if found is not None:
                end = found[1]
                yield found

    def _find_value(self, text: str, at: int, floor: int) -> tuple[int, int, str] | None:
        for anchor, size in self._spans[text[at : at + _KEY_SIZE]]:
            start = at - anchor
            new = self.values.get(text[start : start + size]) if start >= floor else None
            if new is not None and not _is_inside_word(text, start + size):
                return start, start + size, new
        return None

    def _find_time(self, match: re.Match[str]) -> tuple[int, int, str] | None:
        value = times.parse_time(match.group())
        new_ns = None if value is None else self.find_instant(value)
        if new_ns is None:
            return None
        return match.start(), match.end(), times.write_like(match.group(), new_ns)

    def add_instant(self, old: times.PrintedTime, new_ns: int) -> None:
        """The same instant in other formats."""
        for key in instant_keys(old):
            known = self.instants.setdefault(key, [])
            new = new_ns // times.SECOND_NS * times.SECOND_NS if key.startswith("s ") else new_ns
            if new not in known and len(known) < MOST_INSTANTS:
                known.append(new)  # of a second only the few seconds that its instants came to be

    def find_instant(self, value: times.PrintedTime) -> int | None:
        """The new instant for an old one, in nanoseconds since the Unix epoch.

        ``None`` for whole seconds: many an instant lies in one.
        """
        if value.resolution_ns > 1_000_000:
            return None
        return next(iter(self.find_instants(value)), None)

    def find_instants(self, value: times.PrintedTime) -> list[int]:
        """The new instants of all old ones that may have been printed so."""
        keys = instant_keys(value)
        found = self.instants.get(keys[0], []) if keys else []
        if not found and len(keys) == 3 and value.time_ns % 1_000_000 == 0:
            return self.instants.get(keys[1], [])  # made in milliseconds, printed by another
        return found


def instant_keys(value: times.PrintedTime) -> list[str]:
    """Names of an instant at its own resolution and at coarser ones, to whole seconds."""
    names = [
        f"us {value.time_ns // 1000}",
        f"ms {value.time_ns // 1_000_000}",
        f"s {value.time_ns // times.SECOND_NS}",
    ]
    if value.resolution_ns > times.SECOND_NS:
        return []
    if value.resolution_ns > 1_000_000:
        return names[2:]
    return names if value.resolution_ns < 1_000_000 else names[1:]


def _is_inside_word(text: str, at: int) -> bool:
    """Whether a value that ends at ``at`` would cut a word in two."""
    return at < len(text) and _is_word(text[at]) and _is_word(text[at - 1])


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()
