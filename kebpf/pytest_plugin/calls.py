"""What came of the calls of a test, and how that is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SHOWN = 10  # misses of one test, or unused mocks
MOST_FIELDS = 8  # differences of one miss
MOST_TEXT = 300  # characters of one value or call


@dataclass(frozen=True, slots=True)
class Difference:
    """``path`` within the call; what was recorded there, and what came, as Python would show it."""

    path: str
    kind: str
    recorded: str
    actual: str

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"{self.path}: recorded {_cut(self.recorded)}, missing now"
        if self.kind == "extra":
            return f"{self.path}: not recorded, now {_cut(self.actual)}"
        return f"{self.path}: recorded {_cut(self.recorded)}, now {_cut(self.actual)}"


@dataclass(frozen=True, slots=True)
class Miss:
    """A call that no mock answered, ``count`` times.

    ``cause`` is ``never recorded``, ``recorded but different`` or ``recorded and used up``;
    ``nearest`` is the recorded call most like it; ``reason`` is the sentence the program got.
    """

    destination: str
    protocol: str
    reason: str
    call: str = ""
    cause: str | None = None
    nearest: str | None = None
    differences: tuple[Difference, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        times = f"{self.count:,} × " if self.count > 1 else ""
        head = f"{times}{self.destination} ({self.protocol}): "
        if self.nearest is None:
            return head + self.reason
        lines = [f"{head}{self.cause}: {_cut(self.call)}", f"    nearest: {_cut(self.nearest)}"]
        lines += [f"    {one}" for one in self.differences[:MOST_FIELDS]]
        more = len(self.differences) - MOST_FIELDS
        return "\n".join([*lines, *([f"    and {more} more differences"] if more > 0 else [])])


@dataclass(slots=True)
class Calls:
    """What came of the calls within a scope of mocks, as far as was asked by now."""

    misses: list[Miss] = field(default_factory=list)
    answered: int = 0
    used: int = 0
    mocks: int = 0
    unused: list[str] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> list[Miss]:
        """Takes in what kebpf says; gives the misses that are new."""
        fresh = [_make_miss(one) for one in message["misses"]]
        self.misses += fresh
        self.answered, self.used = int(message["answered"]), int(message["used"])
        self.mocks, self.unused = int(message["mocks"]), list(message.get("unused", ()))
        return fresh


def _make_miss(message: dict[str, Any]) -> Miss:
    fields = dict(message)
    differences = tuple(Difference(*map(str, one)) for one in fields.pop("fields"))
    return Miss(**fields, differences=differences)


def describe_misses(misses: Sequence[Miss], source: str) -> str:
    """The failure of a test; ``source`` follows the words ``no mock``."""
    count = sum(one.count for one in misses)
    what = "1 call found" if count == 1 else f"{count:,} calls found"
    lines = [f"{what} no mock{source}"]
    return "\n".join([*lines, *_list_some([f"  {one}" for one in misses], "misses")])


def describe_unused(calls: Calls, source: str) -> str:
    """A test that did not use all it was given."""
    count = calls.mocks - calls.used
    head = f"{count:,} of {calls.mocks:,} mocks of {source} were not used"
    names = [f"  {_cut(one)}" for one in calls.unused]
    return "\n".join([head, *_list_some(names, "mocks", count)])


def _list_some(lines: Sequence[str], what: str, count: int | None = None) -> Iterable[str]:
    more = (len(lines) if count is None else count) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], *([f"  and {more:,} more {what}"] if more > 0 else [])]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"
