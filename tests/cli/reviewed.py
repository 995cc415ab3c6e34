"""A recorded set on disk with a run that found differences, for the tests of reviewing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kebpf.recording.model import TestCase
from kebpf.recording.store import TestSet, TestSetWriter
from kebpf.replay.events import CaseFinished, RunStarted
from kebpf.report.jsonl import JsonLinesReporter
from tests.recording.builders import make_manifest
from tests.replay.reviews import make_json, play, record
from tests.report.builders import make_finished

CAME = {
    "one": make_json({"n": 2, "extra": True}),
    "two": make_json({"n": 2}),
    "three": make_json({"n": 1}),
}


@dataclass(frozen=True)
class Reviewed:
    """The folder a person works in; the set is ``kebpf/shop``, the run ``run.jsonl``."""

    folder: Path

    @property
    def set_folder(self) -> Path:
        return self.folder / "kebpf" / "shop"

    @property
    def run(self) -> Path:
        return self.folder / "run.jsonl"

    def read(self) -> dict[str, bytes]:
        """Every file of the set."""
        files = (path for path in self.set_folder.rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in files}

    def cases(self) -> dict[str, TestCase]:
        return {case.name: case for case in TestSet.open(self.set_folder).cases()}

    def left(self) -> dict[str, list[str]]:
        """What a later run of the same version still finds."""
        return {
            name: [one.path for one in play(case, CAME[name], days=2).mismatches]
            for name, case in self.cases().items()
        }


def write_reviewed(folder: Path) -> Reviewed:
    """Three cases, of which the run found two to differ, in three places."""
    (folder / "kebpf").mkdir()
    writer = TestSetWriter(folder / "kebpf" / "shop", None)
    for order, name in enumerate(CAME, 1):
        writer.add_case(record(name, make_json({"n": 1}), f"/{name}", order=order))
    writer.commit(make_manifest("shop"))
    reviewed = Reviewed(folder)
    cases = TestSet.open(reviewed.set_folder).cases()
    runs = [replace(play(case, CAME[case.name]), test_set="kebpf/shop") for case in cases]
    reviewed.run.write_text(write_events(runs))
    return reviewed


def write_events(runs: Sequence[CaseFinished]) -> str:
    out = io.StringIO()
    reporter = JsonLinesReporter(out)
    reporter.handle(RunStarted(["kebpf/shop"], len(runs), ["serve"]))
    for run in runs:
        reporter.handle(run)
    reporter.handle(make_finished(passed=1, failed=2))
    return out.getvalue()
