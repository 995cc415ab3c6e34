"""Reads what ``kebpf test --json`` wrote, also of a run that was cut short."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

Entry = dict[str, Any]
CaseKey = tuple[str, str]  # test set, case

VERDICTS = ("passed", "failed", "errored", "skipped")
FAILING = ("failed", "errored")
_EVENTS = ("run_started", "application_ready", "case_finished", "run_failed", "run_finished")
_NEEDED = {"case_finished": ("test_set", "case", "verdict")}


class RunFileError(ValueError):
    """The file holds no run; the text says why, in one sentence."""


@dataclass(slots=True)
class RunFile:
    """One run: its cases in the order they ended, and how it ended.

    ``is_cut`` says that the file ends within a line.
    """

    path: str
    started: Entry = field(default_factory=dict)
    cases: dict[CaseKey, Entry] = field(default_factory=dict)
    failures: list[Entry] = field(default_factory=list)
    finished: Entry | None = None
    is_cut: bool = False

    @property
    def planned(self) -> int:
        """How many cases the run was to have."""
        return int(self.started.get("cases") or len(self.cases))

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end, with every case sent."""
        return self.finished is not None and len(self.cases) >= self.planned


def read_run(path: Path) -> RunFile:
    """Reads a run file.  Raises `RunFileError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error
    return parse_run(data, str(path))


def parse_run(data: bytes, path: str) -> RunFile:
    """The run in the bytes of a file.  Raises `RunFileError`."""
    run = RunFile(path)
    for event in _read_events(data, run):
        _take(run, event)
    if not run.started and not run.cases:
        raise RunFileError(f"{path} holds no run: it is not what kebpf test --json FILE writes")
    run.cases = _with_short_names(run.cases)
    return run


def _read_events(data: bytes, run: RunFile) -> Iterator[Entry]:
    lines = data.split(b"\n")
    last = len(lines) if lines[-1].strip() else len(lines) - 1
    for number, line in enumerate(lines[:last], start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # it was being written when the run was ended
                run.is_cut = True
                return
            raise RunFileError(_say_broken(run.path, number, "not JSON")) from error
        problem = _find_problem(event)
        if problem is not None:
            raise RunFileError(_say_broken(run.path, number, problem))
        yield event


def _say_broken(path: str, number: int, problem: str) -> str:
    return f"{path}, line {number}: {problem}; is it what kebpf test --json FILE wrote?"


def _find_problem(event: Any) -> str | None:
    if not isinstance(event, dict) or event.get("event") not in _EVENTS:
        return "no run event"
    missing = [key for key in _NEEDED.get(event["event"], ()) if key not in event]
    if missing:
        return f"the event lacks {missing[0]!r}"
    if event["event"] == "case_finished" and event["verdict"] not in VERDICTS:
        return f"{event['verdict']!r} is no verdict"
    return None


def _take(run: RunFile, event: Entry) -> None:
    match event["event"]:
        case "run_started":
            run.started = event
        case "case_finished":
            run.cases[str(event["test_set"]), str(event["case"])] = event
        case "run_failed":
            run.failures.append(event)
        case "run_finished":
            run.finished = event


def _with_short_names(cases: dict[CaseKey, Entry]) -> dict[CaseKey, Entry]:
    """A set is the same one by whatever path it was named, where its last part tells it."""
    short = shorten_names({name for name, _ in cases})
    return {(short[name], case): event for (name, case), event in cases.items()}


def shorten_names(names: Iterable[str]) -> dict[str, str]:
    """Each path with its last part, or itself if that is not the only one of the name."""
    listed = list(names)
    counts = Counter(PurePath(name).name for name in listed)
    return {
        name: PurePath(name).name if counts[PurePath(name).name] == 1 else name for name in listed
    }
