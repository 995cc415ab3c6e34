"""``kebpf doctor``: whether this host can record and replay, for people or as one JSON object."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import TextIO

from kebpf.capture.checks import Check, Part, Status
from kebpf.capture.preflight import Preflight
from kebpf.cli.errors import ExitStatus

WIDTH = 80  # columns
_STATUS_WIDTH = 9
_NAME_WIDTH = 18
_REMEDY = "to do: "


def doctor(as_json: bool, out: TextIO) -> int:
    """Prints what was found; 0 when this host can record and replay, else 3."""
    return report(Preflight(), as_json, out)


def report(preflight: Preflight, as_json: bool, out: TextIO) -> int:
    """Runs the checks and prints them, each as it comes unless as JSON; the exit status."""
    checks = []
    for check in preflight.run():
        checks.append(check)
        if not as_json:
            out.write("\n".join(format_check(check)) + "\n")
            out.flush()
    ending = (
        to_json(preflight, checks) if as_json else f"\n{conclude(checks, preflight.is_rootless)}"
    )
    out.write(ending + "\n")
    return ExitStatus.ENVIRONMENT if find_obstacles(checks) else ExitStatus.PASSED


def to_json(preflight: Preflight, checks: Iterable[Check]) -> str:
    """``{"ok": …, "door": "a" | "b" | null, "rootless": …, "checks": […]}`` in one line."""
    checks = list(checks)
    door = preflight.door
    return json.dumps(
        {
            "ok": not find_obstacles(checks),
            "door": door.value if door else None,
            "rootless": preflight.is_rootless,
            "checks": [
                {
                    "name": check.name,
                    "status": check.status.value,
                    "found": check.found,
                    "remedy": check.remedy,
                }
                for check in checks
            ],
        }
    )


def format_check(check: Check) -> Iterator[str]:
    """The lines of one check; the remedy right below what was found."""
    head = f"{check.status.value:{_STATUS_WIDTH}}{check.name:{_NAME_WIDTH}}"
    yield from _wrap(check.found, head)
    if check.status is not Status.OK:
        yield from _wrap(check.remedy, " " * len(head) + _REMEDY)


def _wrap(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def find_obstacles(checks: Iterable[Check]) -> list[Check]:
    """The checks that are in the way."""
    return [check for check in checks if check.status is Status.PROBLEM]


def conclude(checks: Iterable[Check], is_rootless: bool) -> str:
    """The last line: what this host can do, and what is in the way."""
    obstacles = find_obstacles(checks)
    if not obstacles:
        return "this host can record and replay"
    stopped = Part(0)
    for check in obstacles:
        stopped |= check.stops
    verdict = {
        Part.BOTH: "this host can neither record nor replay",
        Part.RECORD: "this host can replay but not record",
        Part.REPLAY: "this host can record but not replay",
    }[stopped]
    names = ", ".join(check.name for check in obstacles)
    instead = "; `kebpf test --rootless` works" if is_rootless and stopped & Part.REPLAY else ""
    text = f"{verdict}; in the way: {names}{instead}"
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)
