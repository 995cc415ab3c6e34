"""What a command that ran on mocks came to: calls answered, and every miss with its reason."""

from __future__ import annotations

from kebpf.replay.mockrun import MockRunResult
from kebpf.replay.noise import NoiseUse
from kebpf.report.lines import count
from kebpf.report.values import escape_controls

SHOWN_MISSES = 20


def describe_mock_run(result: MockRunResult, verbose: bool = False) -> list[str]:
    """The lines after the command's own output: the misses first, the count last."""
    ranked = result.misses.most_common()
    shown = ranked if verbose else ranked[:SHOWN_MISSES]
    lines = [
        f"{times:,} × {one.destination} ({one.protocol}): {escape_controls(one.reason)}"
        for one, times in shown
    ]
    unshown = result.missed - sum(times for _, times in shown)
    if unshown:
        lines.append(f"and {count(unshown, 'more miss', 'more misses')}{_hint(result, verbose)}")
    return [*lines, *_describe_end(result)]


def _hint(result: MockRunResult, verbose: bool) -> str:
    return "" if verbose or len(result.misses) <= SHOWN_MISSES else " (--verbose shows them)"


def _describe_end(result: MockRunResult) -> list[str]:
    ended = [f"the command {result.how}"] if result.status else []
    missed = count(result.missed, "miss", "misses") if result.missed else "no miss"
    answered = (
        f"{count(result.answered, 'call')} answered in {result.seconds:.1f} s, {missed}; "
        f"{result.used:,} of {count(result.mocks, 'mock')} used"
    )
    if result.tolerated:
        answered += f"; {count(result.tolerated, 'miss', 'misses')} that the tests provoke"
    return [*ended, *map(_describe_noise, result.noise), answered]


def _describe_noise(use: NoiseUse) -> str:
    rule = use.rule
    return f"not compared, as kebpf.yml says: {use.count:,} × {rule.path} ({rule.reason})"
