"""What a recording came to, from the assembler's words into those of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kebpf.recording.progress import Progress
from kebpf.recording.served import describe_served
from kebpf.recording.unlearned import describe_unlearned
from kebpf.recording.unplaced import describe_unplaced
from kebpf.report.lines import count
from kebpf.report.recorded import RecordingStatus

_MOST_UNLEARNED = 5  # servers in a summary


def make_status(progress: Progress) -> RecordingStatus:
    """What the display shows of a recording's progress."""
    return RecordingStatus(
        requests=progress.requests,
        test_cases=progress.test_cases,
        mocks=progress.mocks,
        unique=progress.unique,
        events=progress.events,
        captured_bytes=progress.captured_size,
        lost_events=progress.lost_events,
        lost_bytes=progress.lost_size + progress.unfollowed_size,
        connections=progress.connections,
        unparsed=dict(progress.unparsed),
        given_up=progress.given_up,
        given_up_bytes=progress.given_up_size,
        proven=progress.proven,
        unbalanced=progress.unbalanced,
        left_out=progress.left_out,
        set_apart=progress.set_apart,
        redacted=progress.redacted,
        filtered=progress.filtered,
        destinations={
            name: {"protocol": progress.protocols.get(name, "?"), "calls": calls}
            for name, calls in progress.destinations.items()
        },
        seconds=progress.seconds,
        ending_seconds=progress.ending_seconds,
        backlog_bytes=progress.backlog_size,
        details=make_details(progress),
    )


def make_notes(progress: Progress) -> list[str]:
    """Further sentences for the summary: what was not parsed, not known, or not copied."""
    notes = [f"it does not add up: {name}" for name in progress.unbalanced_names]
    if progress.capped:
        notes.append(f"{count(progress.capped, 'connection')} given up to keep to the rate cap")
    for protocol, (connections, size) in progress.served.items():
        notes.append(describe_served(protocol, connections, size))
    notes += note_unlearned(progress.unlearned)
    ranked = sorted(progress.unplaced.items(), key=lambda item: -item[1]["calls"])
    notes += [describe_unplaced(name, **one) for name, one in ranked[:_MOST_UNLEARNED]]
    if more := ranked[_MOST_UNLEARNED:]:
        notes.append(f"and unknown databases of {count(len(more), 'more server')}")
    for pid, name, cause, size in progress.missing_payload:
        notes.append(describe_missing(pid, name, cause, size))
    return notes


def describe_missing(pid: int, process: str, why: str, size: int) -> str:
    """The sentence on bytes that a process moved in a way that shows their number only."""
    return f"{process} (process {pid}) moved {size:,} bytes {why}: known, not captured"


def note_unlearned(servers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each server that had statements prepared before; bounded."""
    ranked = sorted(servers.items(), key=lambda item: -item[1]["calls"])
    notes = [describe_unlearned(name, **one) for name, one in ranked[:_MOST_UNLEARNED]]
    if more := ranked[_MOST_UNLEARNED:]:
        notes.append(f"and statements prepared before for {count(len(more), 'more server')}")
    return notes


def make_details(progress: Progress) -> dict[str, Any]:
    """What the notes say, for the JSON object."""
    return {
        "served": {
            protocol: {"connections": connections, "bytes": size}
            for protocol, (connections, size) in progress.served.items()
        },
        "prepared_before": progress.unlearned,
        "database_unknown": progress.unplaced,
        "asyncio_processes": progress.task_processes,
        "not_captured": [
            {"pid": pid, "process": name, "bytes": size, "why": cause}
            for pid, name, cause, size in progress.missing_payload
        ],
    }
