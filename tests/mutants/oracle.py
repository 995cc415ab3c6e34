"""Judges without kebpf: runs an application live and compares answers and the servers' logs."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from examples.processes import ProcessError
from tests.mutants.applications import Application

TIME_TOLERANCE_S = 60.0  # a machine may be slow
LONG_TOKEN = 16  # characters: equal ones are the same value, not chance
_TOKEN = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?"
    r"|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    r"|W/\"[^\"]+\"|[\w-]{32,}|\w+(?:[-.]\w+)*|\s+|.",
    re.DOTALL,
)
_UPKEEP = re.compile(r"(sql|LOG statement:) (DEALLOCATE|DISCARD) ")  # of a pool's connections
_CLASSES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\d+", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"([0-9a-f]{2}){4,}",
        r"\w{3}, .* GMT", r"[\w-]+", r"[\w.-]+",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """What one live run showed, line by line, and when it began (Unix time, seconds)."""

    began_s: float
    lines: list[str]


def trace(application: Application, folder: Path) -> Trace:
    """Runs the copy in ``folder`` live with fresh data, and has it serve one customer."""
    application.reset()
    calls: list[str] = []
    began_s = time.time()
    lines: list[str] = []
    with application.watch(calls):
        try:
            process = application.start(folder)
        except (TimeoutError, ProcessError):
            return Trace(began_s, ["it did not start"])
        try:
            answers = list(application.walk())
        finally:
            process.stop()
    lines = [line for text in answers for line in text.split("\n")]
    return Trace(began_s, [*lines, *(call for call in calls if _UPKEEP.match(call) is None)])


class Oracle:
    """Knows which values differ between two runs of the original; all others must be equal."""

    def __init__(self, one: Trace, other: Trace) -> None:
        self._one = one
        self._lines = [_TOKEN.findall(line) for line in one.lines]
        others = [_TOKEN.findall(line) for line in other.lines]
        if list(map(len, self._lines)) != list(map(len, others)):
            raise ValueError(f"the original differs in shape: {self._describe_shape(other.lines)}")
        self._free = {
            (number, place)
            for number, (line, other_line) in enumerate(zip(self._lines, others, strict=True))
            for place, (token, other_token) in enumerate(zip(line, other_line, strict=True))
            if token != other_token
        }
        if why := self.find_difference(other):
            raise ValueError(f"the oracle tells two runs of the original apart: {why}")

    def find_difference(self, seen: Trace) -> str | None:
        """The first thing in which a run differs from the original, if any."""
        if len(seen.lines) != len(self._lines):
            return self._describe_shape(seen.lines)
        forward: dict[str, str] = {}
        backward: dict[str, str] = {}
        for number, (line, text) in enumerate(zip(self._lines, seen.lines, strict=True)):
            tokens = _TOKEN.findall(text)
            if len(tokens) != len(line):
                return f"{self._one.lines[number]!r} became {text!r}"
            for place, (old, new) in enumerate(zip(line, tokens, strict=True)):
                is_same = old == new
                if (number, place) in self._free:
                    is_same = self._is_alike(old, new, seen.began_s)
                    if _is_unique(old):
                        one, other = _name(old), _name(new)
                        names = forward.setdefault(one, other), backward.setdefault(other, one)
                        is_same = is_same and names == (other, one)
                if not is_same:
                    return f"{self._one.lines[number]!r} became {text!r}"
        return None

    def find_frozen(self, one: Trace, other: Trace) -> str | None:
        """A value that the original makes anew in each run, and this version does not."""
        for number, place in sorted(self._free):
            old = self._lines[number][place]
            made = [_TOKEN.findall(seen.lines[number])[place] for seen in (one, other)]
            if len(old) >= LONG_TOKEN and made[0] == made[1]:
                return f"{made[0]} is the same in two runs, {old} was not"
        return None

    def _describe_shape(self, lines: list[str]) -> str:
        for before, after in zip(self._one.lines, lines, strict=False):
            if len(_TOKEN.findall(before)) != len(_TOKEN.findall(after)):
                return f"{before!r} became {after!r}"
        return f"{len(self._lines)} lines became {len(lines)}"

    def _is_alike(self, old: str, new: str, began_s: float) -> bool:
        """Whether a value that is new in each run is of the same kind, a time as far ahead."""
        times = _read_time(old), _read_time(new)
        if times[0] is not None or times[1] is not None:
            if times[0] is None or times[1] is None:
                return False
            offsets = times[0] - self._one.began_s, times[1] - began_s
            has_fraction = "." in old, "." in new
            return abs(offsets[0] - offsets[1]) < TIME_TOLERANCE_S and len(set(has_fraction)) == 1
        classes = [
            next((place for place, one in enumerate(_CLASSES) if one.fullmatch(token)), None)
            for token in (old, new)
        ]
        is_long = max(len(old), len(new)) >= LONG_TOKEN
        return classes[0] == classes[1] and (not is_long or len(old) == len(new))


def _name(token: str) -> str:
    """The same for a time however it is written."""
    at_s = _read_time(token)
    return token if at_s is None else f"{at_s:.6f}"


def _is_unique(token: str) -> bool:
    """Whether equal tokens of this kind are one value, not two of the same second."""
    if _read_time(token) is not None:
        return "." in token
    return len(token) >= LONG_TOKEN and not token.endswith("GMT")


def _read_time(token: str) -> float | None:
    """A time as Unix time."""
    if len(token) < LONG_TOKEN or not token[:4].isdigit() or token[4] != "-":
        return None
    try:
        found = datetime.fromisoformat(token)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
