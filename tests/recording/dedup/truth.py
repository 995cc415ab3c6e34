"""What has to stay of made-up traffic, worked out from its making and not by looking at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kebpf.recording.model import TestCase


@dataclass
class Truth:
    """All cases by what is decisive: shape, size, duration, status."""

    first: dict[int, str] = field(default_factory=dict)
    newest: dict[int, str] = field(default_factory=dict)
    largest: dict[int, tuple[int, str]] = field(default_factory=dict)
    failures: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    durations: list[tuple[int, str]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    shape_of: dict[str, int] = field(default_factory=dict)
    all_failures: int = 0

    def note(self, place: int, case: TestCase) -> None:
        """The next case, made as one of the shape at a place."""
        name, size = case.name, len(case.response["body"]) + len(case.request["body"])
        self.shape_of[name] = place
        self.first.setdefault(place, name)
        self.newest[place] = name
        if size > self.largest.get(place, (-1, ""))[0]:
            self.largest[place] = size, name
        if case.response["status"] >= 500:
            self.failures[place].append(name)
        self.durations.append((case.timing.end_ns - case.timing.start_ns, name))
        self.counts[place] += 1

    def must_stay(self, most_failures: int, most_slow: int, share: int) -> set[str]:
        """The names of the exemplars."""
        slow = sorted(self.durations, reverse=True)[: min(most_slow, len(self.durations) // share)]
        return {
            *self.first.values(),
            *self.newest.values(),
            *(name for _, name in self.largest.values()),
            *(name for names in self.failures.values() for name in names[:most_failures]),
            *(name for _, name in slow),
        }

    def check(self, kept: Iterable[tuple[str, int, str]], must_stay: set[str]) -> None:
        """That just these stay, each with the number of requests of its shape."""
        found = {name: (seen, shape) for name, seen, shape in kept}
        assert found.keys() == must_stay, _differ(found.keys(), must_stay)
        shapes: dict[int, set[str]] = defaultdict(set)
        for name, (seen, shape) in found.items():
            shapes[self.shape_of[name]].add(shape)
            assert seen == self.counts[self.shape_of[name]]
        assert all(len(names) == 1 for names in shapes.values())
        assert len({next(iter(names)) for names in shapes.values()}) == len(self.first)


def _differ(found: Iterable[str], expected: set[str]) -> str:
    lost, more = expected.difference(found), set(found).difference(expected)
    return f"lost {len(lost)}: {sorted(lost)[:5]}, too many {len(more)}: {sorted(more)[:5]}"
