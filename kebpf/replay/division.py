"""Divides the cases of a run over instances: groups stay whole, the longest are given out first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kebpf.protocols.base import ProtocolSpec
from kebpf.recording.model import TestCase
from kebpf.replay.dependencies import group_cases
from kebpf.replay.selection import SelectedSet

CASE_COST_NS = 10_000_000  # of sending and judging, beside what the application takes


def divide_sets(
    sets: Sequence[SelectedSet],
    instances: int,
    is_alone: bool,
    get_spec: Callable[[str], ProtocolSpec],
) -> list[list[SelectedSet]]:
    """What each instance runs of each set, cases in the order they have there.

    Instances for which nothing is left are not among them.  With ``is_alone`` no case depends on
    another.
    """
    loads = [0] * instances
    parts: list[list[SelectedSet]] = [[] for _ in range(instances)]
    for selected in sets:
        groups = _group(selected, is_alone, get_spec)
        for number, cases in enumerate(_give_out(groups, loads)):
            if cases:
                parts[number].append(replace(selected, cases=_in_order(selected, cases)))
    return [part for part in parts if part]


def _group(
    selected: SelectedSet, is_alone: bool, get_spec: Callable[[str], ProtocolSpec]
) -> list[list[TestCase]]:
    if is_alone:
        return [[case] for case in selected.cases]
    recorded = selected.recorded
    return group_cases(
        selected.cases, lambda: (mock for _, mock in recorded.iter_mocks()), get_spec
    )


def _give_out(groups: list[list[TestCase]], loads: list[int]) -> list[list[TestCase]]:
    """Each group to the instance with the least to do; adds to ``loads``."""
    given: list[list[TestCase]] = [[] for _ in loads]
    for group in sorted(groups, key=_cost_of, reverse=True):
        number = loads.index(min(loads))
        loads[number] += _cost_of(group)
        given[number] += group
    return given


def _cost_of(group: Sequence[TestCase]) -> int:
    return sum(case.timing.end_ns - case.timing.start_ns + CASE_COST_NS for case in group)


def _in_order(selected: SelectedSet, cases: Sequence[TestCase]) -> list[TestCase]:
    names = {case.name for case in cases}
    return [case for case in selected.cases if case.name in names]
