"""What a test asks for: test sets, cases, and what its misses and unused mocks mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

MARK = "kebpf"
MARK_HELP = (
    "kebpf(*sets, cases=(), misses='error', unused='report'): the calls of the test are answered "
    "from the mocks of these recorded test sets, with cases= only from those of these cases"
)
_CHOICES = {"misses": ("error", "report"), "unused": ("report", "error")}


class MarkError(Exception):
    """A mark that makes no sense; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``cases`` are names or globs (none: all)."""

    sets: tuple[str, ...]
    cases: tuple[str, ...] = ()
    misses: str = "error"
    unused: str = "report"

    @property
    def tolerates_misses(self) -> bool:
        """Whether a call without an answer is no failure."""
        return self.misses == "report"

    def __str__(self) -> str:
        of = f" (cases: {', '.join(self.cases)})" if self.cases else ""
        return ", ".join(self.sets) + of


def read_mark(item: pytest.Item) -> Wanted | None:
    """What the mark nearest to a test asks for.  Raises `MarkError`."""
    mark = item.get_closest_marker(MARK)
    return None if mark is None else make_wanted(mark.args, mark.kwargs)


def make_wanted(sets: Sequence[object], options: Mapping[str, object]) -> Wanted:
    """Checks what a mark, or a call of the fixture, was given.  Raises `MarkError`."""
    unknown = set(options).difference({"cases", *_CHOICES})
    if unknown:
        raise MarkError(f"kebpf's mark has no option {min(unknown)}")
    if not sets or not all(isinstance(name, str) and name for name in sets):
        raise MarkError('kebpf\'s mark names test sets: @pytest.mark.kebpf("shop")')
    for name, known in _CHOICES.items():
        if options.get(name, known[0]) not in known:
            raise MarkError(f"{name} of kebpf's mark is {known[0]!r} or {known[1]!r}")
    return Wanted(
        tuple(map(str, sets)),
        _read_cases(options.get("cases", ())),
        str(options.get("misses", "error")),
        str(options.get("unused", "report")),
    )


def _read_cases(value: object) -> tuple[str, ...]:
    cases = (value,) if isinstance(value, str) else value
    if not isinstance(cases, Sequence) or not all(isinstance(one, str) and one for one in cases):
        raise MarkError("cases of kebpf's mark is a name, a glob, or a list of them")
    return tuple(cases)
