"""What a run is done with: the kernel's part, and matching and comparison with their settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kebpf.kernel.cgroup import make_cgroup
from kebpf.kernel.steering import make_steering
from kebpf.recording.model import Strength, TestCase
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.comparison import compare
from kebpf.replay.events import Mismatch
from kebpf.replay.matcher import Matcher
from kebpf.replay.selection import SelectedSet
from kebpf.replay.setrun import Environment


def make_environment(noise: Sequence[str]) -> Environment:
    """The environment of this host; ``noise`` are paths into responses not to compare."""

    def compare_without_noise(
        case: TestCase, expected: Any, actual: Any, bindings: Any, window: tuple[int, int]
    ) -> tuple[list[Mismatch], Strength]:
        return compare(case, expected, actual, bindings, Window(*window), noise)

    return Environment(make_steering, make_cgroup, make_matcher, compare_without_noise)


def make_matcher(selected: SelectedSet) -> tuple[Matcher, Bindings]:
    """A matcher for one run of a test set, with the bindings it shares with the comparison."""
    bindings = Bindings()
    return Matcher(selected.recorded, bindings), bindings
