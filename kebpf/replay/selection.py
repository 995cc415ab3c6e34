"""Which cases of which test sets a run is about, and the command that repeats one of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kebpf.recording.model import TestCase
from kebpf.replay.stages import Recorded


@dataclass(frozen=True, slots=True)
class SelectedSet:
    """A test set with the cases to run of it; ``name`` is what the person called the set."""

    name: str
    recorded: Recorded
    cases: list[TestCase]

    @property
    def needed_ports(self) -> list[int]:
        """The ports the cases were served on, in the order in which they come up."""
        ports = (case.endpoint.port for case in self.cases if case.endpoint.transport == "tcp")
        return list(dict.fromkeys(ports))


def select_cases(name: str, recorded: Recorded, patterns: Sequence[str]) -> SelectedSet:
    """The cases whose name is one of, or matches one of, ``patterns`` (none: all), in order."""
    cases = [case for case in recorded.cases() if _is_wanted(case.name, patterns)]
    return SelectedSet(name, recorded, sorted(cases, key=lambda case: case.order))


def find_idle_patterns(sets: Sequence[SelectedSet], patterns: Sequence[str]) -> list[str]:
    """The patterns that no case of any set answers to."""
    names = [case.name for selected in sets for case in selected.cases]
    return [one for one in patterns if not any(_is_wanted(name, [one]) for name in names)]


def write_repeat_command(set_name: str, case_name: str, command: str | Sequence[str]) -> str:
    """The command line that runs one case again."""
    start = shlex.join(["kebpf", "test", set_name, "--case", case_name])
    if isinstance(command, str):
        return f"{start} -c {shlex.quote(command)}"
    return f"{start} -- {shlex.join(command)}"


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(name == one or fnmatchcase(name, one) for one in patterns)
