"""Counts over all that a run is made of: verdicts, findings, what became of the mocks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kebpf.replay.events import (
    CallFinding,
    CaseFinished,
    Ledger,
    RunEvent,
    RunFinished,
    Verdict,
)
from kebpf.replay.sharing import SharedCall


@dataclass(frozen=True, slots=True)
class Part:
    """What one start of the application came to, beside its cases' events.

    ``calls`` names the mocks of its cases; ``shared`` are calls that cases of other parts may have
    made as well.
    """

    test_set: str
    is_ready: bool
    findings: list[CallFinding]
    ledger: Ledger
    calls: frozenset[str]
    shared: list[SharedCall] = field(default_factory=list)


class Tally:
    """Counts over all sets of a run."""

    def __init__(self) -> None:
        self.has_not_started = False
        self._started = time.monotonic()
        self._verdicts: Counter[Verdict] = Counter()
        self._failed_cases: list[str] = []
        self._findings: list[CallFinding] = []
        self._parts: dict[str, list[Part]] = {}  # by test set

    @property
    def parts(self) -> list[Part]:
        """All that were closed."""
        return [part for parts in self._parts.values() for part in parts]

    @property
    def has_failed(self) -> bool:
        return bool(self._failed_cases or self._findings)

    def add(self, event: RunEvent) -> None:
        if isinstance(event, CaseFinished):
            self._verdicts[event.verdict] += 1
            if event.verdict in (Verdict.FAILED, Verdict.ERRORED):
                self._failed_cases.append(event.case)

    def close_part(self, part: Part) -> None:
        """Takes what belongs to no one case."""
        self.has_not_started = not part.is_ready
        self._findings += part.findings
        self._parts.setdefault(part.test_set, []).append(part)

    def add_findings(self, findings: Iterable[CallFinding]) -> None:
        """Takes what is known of all parts together only."""
        self._findings += findings

    def finish(self, total: int) -> RunFinished:
        """Cases that never got an event, because the application did not start, are skipped."""
        ledgers = [part.ledger for part in self.parts]
        ledger = Ledger(
            used=sum(one.used for one in ledgers),
            unused=[name for parts in self._parts.values() for name in _list_unused(parts)],
            misses=sum(one.misses for one in ledgers),
            more_unused=sum(one.more_unused for one in ledgers),
            unasserted=sum(one.unasserted for one in ledgers),
            cached=[call for one in ledgers for call in one.cached],
        )
        return RunFinished(
            passed=self._verdicts[Verdict.PASSED],
            failed=self._verdicts[Verdict.FAILED],
            errored=self._verdicts[Verdict.ERRORED],
            skipped=total - self._verdicts.total() + self._verdicts[Verdict.SKIPPED],
            misses=ledger.misses,
            unused_mocks=len(ledger.unused) + ledger.more_unused,
            seconds=time.monotonic() - self._started,
            findings=self._findings,
            failed_cases=self._failed_cases,
            ledger=ledger,
        )


def _list_unused(parts: Sequence[Part]) -> list[str]:
    """The mocks that a set's one run, or each of several starts, was to use and did not."""
    seen = Counter(name for part in parts for name in part.ledger.unused)
    own = {name for part in parts for name in part.calls}
    return [name for name, times in seen.items() if times == len(parts) or name in own]
