"""What a run came to, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.replay.events import RunFinished
from kebpf.report.lines import count


def describe_result(
    finished: RunFinished | None, run_failures: Sequence[str], causes: int = 0
) -> str:
    """``8 of 192 cases failed, from 1 cause``; a run that could not be made says why first."""
    if run_failures:
        return f"The run failed: {run_failures[0]}"
    if finished is None:
        return "The run was cut short"
    ran = finished.passed + finished.failed + finished.errored
    bad = finished.failed + finished.errored
    if bad:
        cases = f"{bad:,} of {count(ran, 'case')} failed"
        return f"{cases}, from {count(causes, 'cause')}" if causes else cases
    if finished.findings:
        calls = count(len(finished.findings), "call")
        return f"{calls} not as recorded, of no one case"
    if not ran:
        return "No case ran"
    return f"All {count(ran, 'case')} passed" if ran > 1 else "The one case passed"
