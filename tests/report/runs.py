"""Run files for the tests of what reads them: written by the reporter, as `kebpf test` does."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from kebpf.replay.events import CaseFinished, RunStarted, Verdict
from kebpf.report.jsonl import JsonLinesReporter
from tests.report.builders import make_finished


def write_run(cases: Sequence[CaseFinished], **finished: Any) -> bytes:
    """The bytes of a whole run of ``cases``."""
    out = io.StringIO()
    reporter = JsonLinesReporter(out)
    reporter.handle(RunStarted(["shop-1"], len(cases), ["serve"]))
    for case in cases:
        reporter.handle(case)
    counts = {verdict.value: 0 for verdict in Verdict}
    for case in cases:
        counts[case.verdict.value] += 1
    reporter.handle(make_finished(**{**counts, **finished}))
    return out.getvalue().encode()
