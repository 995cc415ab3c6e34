"""Which cases of which test sets a run is about, and the command that repeats one of them."""

from __future__ import annotations

import random
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from kebpf.recording.model import TestCase
from kebpf.replay.caches import route_of
from kebpf.replay.stages import Recorded


@dataclass(frozen=True, slots=True)
class SelectedSet:
    """A test set with the cases to run of it; ``name`` is what the person called the set."""

    name: str
    recorded: Recorded
    cases: list[TestCase]
    routes: Mapping[str, str] = field(default_factory=dict)  # of all recorded cases, in order
    needed: Mapping[str, TestCase] = field(default_factory=dict)  # by others, whether to run or not

    @property
    def set_apart(self) -> dict[str, str]:
        """The cases that are kept but not run, with the reason."""
        running = {case.name for case in self.cases}
        everything = self.recorded.manifest.set_apart
        return {name: why for name, why in everything.items() if name not in running}

    def list_needed(self, case: TestCase) -> list[TestCase]:
        """Those that have to run before a case, in the order of the recording."""
        found: dict[str, TestCase] = {}
        names = list(case.needs)
        while names:
            name = names.pop()
            if name in self.needed and name not in found and name != case.name:
                found[name] = self.needed[name]
                names += found[name].needs
        return sorted(found.values(), key=lambda one: one.order)

    @property
    def needed_ports(self) -> list[int]:
        """The ports the cases were served on, in the order in which they come up."""
        ports = (case.endpoint.port for case in self.cases if case.endpoint.transport == "tcp")
        return list(dict.fromkeys(ports))

    @property
    def needed_paths(self) -> list[str]:
        """The Unix sockets the cases were served on, likewise."""
        paths = (case.endpoint.host for case in self.cases if case.endpoint.transport == "unix")
        return list(dict.fromkeys(paths))


def select_cases(name: str, recorded: Recorded, patterns: Sequence[str]) -> SelectedSet:
    """The cases whose name is one of, or matches one of, ``patterns`` (none: all), in order.

    One that was set apart is run only if a pattern is its very name.
    """
    everyone = sorted(recorded.cases(), key=lambda case: case.order)
    cases = [case for case in everyone if _is_wanted(case.name, patterns)]
    if patterns:
        cases += [case for case in recorded.apart() if case.name in patterns]
    cases.sort(key=lambda case: case.order)
    routes = {case.name: route_of(case) for case in everyone}
    names = {name for case in cases for name in case.needs}
    known = [*everyone, *recorded.apart()] if names else []
    return SelectedSet(name, recorded, cases, routes, _find_needed(known, names))


def _find_needed(known: Sequence[TestCase], names: set[str]) -> dict[str, TestCase]:
    """The cases called so, and those that they need in turn."""
    cases = {case.name: case for case in known}
    found: dict[str, TestCase] = {}
    while names := names & cases.keys() - found.keys():
        found |= {name: cases[name] for name in names}
        names = {one for name in names for one in cases[name].needs}
    return found


def find_idle_patterns(sets: Sequence[SelectedSet], patterns: Sequence[str]) -> list[str]:
    """The patterns that no case of any set answers to."""
    names = [case.name for selected in sets for case in selected.cases]
    return [one for one in patterns if not any(_is_wanted(name, [one]) for name in names)]


def shuffle_cases(selected: SelectedSet, seed: int) -> SelectedSet:
    """The same cases in an order that the seed alone decides."""
    cases = list(selected.cases)
    random.Random(seed).shuffle(cases)
    return replace(selected, cases=cases)


def split_cases(selected: SelectedSet) -> list[SelectedSet]:
    """A set for each case, which then runs alone."""
    return [replace(selected, cases=[case]) for case in selected.cases]


def write_repeat_command(
    set_name: str,
    patterns: Sequence[str],
    command: str | Sequence[str],
    shuffle: int | None = None,
) -> str:
    """The command line that runs the cases called so again (none: all), in the same order."""
    words = ["kebpf", "test", set_name]
    words += [word for pattern in patterns for word in ("--case", pattern)]
    words += [] if shuffle is None else [f"--shuffle={shuffle}"]
    start = shlex.join(words)
    if isinstance(command, str):
        return f"{start} -c {shlex.quote(command)}"
    return f"{start} -- {shlex.join(command)}"


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(name == one or fnmatchcase(name, one) for one in patterns)
