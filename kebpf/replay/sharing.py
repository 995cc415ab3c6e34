"""Calls of several cases that ran in different instances: asserted once over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kebpf.replay.call import Key
from kebpf.replay.events import CallFinding, MissKind


@dataclass(frozen=True, slots=True)
class SharedCall:
    """A recorded call that one of ``candidates`` made, as one instance knows it.

    ``key`` is equal for calls that one mock could answer; ``ran`` are the candidates that ran
    here.  One that is not asserted may be a request's that was left out of the recording.
    """

    mock: str
    key: Key
    candidates: frozenset[str]
    ran: frozenset[str]
    is_used: bool
    is_asserted: bool
    missing: CallFinding


def judge_shared(calls: Iterable[SharedCall]) -> Iterator[CallFinding]:
    """Findings from what all instances of one test set's run know.

    Equal calls are interchangeable: those that were made are counted against those recorded.
    """
    equal: dict[Key, dict[str, list[SharedCall]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        equal[call.key][call.mock].append(call)
    for mocks in equal.values():
        yield from _judge_equal(list(mocks.values()))


def _judge_equal(mocks: Sequence[Sequence[SharedCall]]) -> Iterator[CallFinding]:
    made = sum(call.is_used for told in mocks for call in told)
    due = [told[0] for told in mocks if _is_due(told)]
    if made < len(due):
        used = {told[0].mock for told in mocks if any(call.is_used for call in told)}
        due.sort(key=lambda call: call.mock in used)
        yield from (call.missing for call in due[: len(due) - made])
    elif made > len(mocks):
        yield replace(
            mocks[0][0].missing,
            kind="repeated",
            miss=MissKind.USED_UP,
            count=made - len(mocks),
            recorded=len(mocks),
            made=made,
            note="made by cases of several instances",
        )


def _is_due(told: Sequence[SharedCall]) -> bool:
    ran = frozenset[str]().union(*(call.ran for call in told))
    return told[0].is_asserted and ran == told[0].candidates
