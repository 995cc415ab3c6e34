"""What a recording came to: its status, and the sentences and the JSON object that tell it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from kebpf.report.lines import count
from kebpf.report.values import cut, escape_controls

COMMAND_WIDTH = 60
_KINDS = {
    "e-mail address": ("e-mail address", "e-mail addresses"),
    "password": ("password",),
    "token": ("token",),
    "key": ("key",),
    "card": ("card",),
    "other": ("other",),
}
MOST_REASONS = 8  # of one kind in a summary

# what makes reasons differ that are the same to a reader
_NAMED_STATEMENT = re.compile(r'statement ".*" was prepared')
_SIZE = re.compile(r"\b\d[\d,]* bytes?\b")


class DestinationStatus(TypedDict):
    """What was seen of one destination."""

    protocol: str
    calls: int


@dataclass(slots=True)
class RecordingStatus:
    """Where a recording stands; ``seconds`` since it began capturing, sizes in bytes.

    ``given_up`` and ``proven`` are connections: most of whose bytes were thrown away, and whose
    bytes all add up; ``unbalanced`` counts by reason those whose do not, ``unparsed`` those that
    could not be followed to their end.  ``left_out`` gives the number of exchanges kept out for
    each reason, ``set_apart`` that of the cases not to be run, ``redacted`` how many different
    values of each kind were replaced, ``filtered`` the number of connections that each option left
    out; ``notes`` are further sentences, ``details`` what they are made of, for the JSON object.
    ``unique`` shapes of requests there were, where only exemplars of them are kept.
    """

    requests: int = 0
    test_cases: int = 0
    mocks: int = 0
    unique: int | None = None
    events: int = 0
    captured_bytes: int = 0
    lost_events: int = 0
    lost_bytes: int = 0
    connections: int = 0
    given_up: int = 0
    given_up_bytes: int = 0
    proven: int = 0
    unbalanced: dict[str, int] = field(default_factory=dict)
    unparsed: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)
    set_apart: dict[str, int] = field(default_factory=dict)
    redacted: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, DestinationStatus] = field(default_factory=dict)
    seconds: float = 0.0
    ending_seconds: float = 0.0  # since the capture ended
    backlog_bytes: int = 0  # still to be read then
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def describe_subject(title: str, pids: Sequence[int], processes: int) -> str:
    """``pid 4711``, or what ``title`` says of more than processes, with how many there are."""
    if title:
        return f"{title}, {count(processes, 'process', 'processes')}"
    label = "pid" if len(pids) == 1 else "pids"
    return f"{label} {', '.join(str(pid) for pid in pids)}"


def describe_opening(
    subject: str,
    command: str,
    open_connections: int,
    seconds: float | None = None,
    has_others: bool = False,
) -> str:
    """``recording pid 4711 (python3.11 …), 3 connections already open; Ctrl-C ends it``.

    ``seconds`` is when it ends by itself, if it does; ``has_others`` is for a target of which
    ``command`` is one program of several.
    """
    shown = cut(escape_controls(" ".join(command.split())), COMMAND_WIDTH)
    shown += " and others" if has_others else ""
    already = f", {count(open_connections, 'connection')} already open" if open_connections else ""
    end = "Ctrl-C ends it" if seconds is None else f"it ends after {seconds:g} s, or with Ctrl-C"
    return f"recording {subject} ({shown}){already}; {end}"


def describe_progress(status: RecordingStatus) -> str:
    """One line on where the recording stands."""
    if status.ending_seconds:
        return f"{status.ending_seconds:.0f} s after its end: {describe_writing(status)}"
    parts = [
        f"{status.seconds:.0f} s: {describe_requests(status)}",
        count(status.test_cases, "test case"),
        count(status.mocks, "mock"),
        count(status.captured_bytes, "byte"),
    ]
    if status.lost_events or status.lost_bytes:
        parts.append(f"{describe_loss(status)} lost")
    return ", ".join(parts)


def describe_requests(status: RecordingStatus) -> str:
    """``12,431 requests``, and ``→ 87 unique`` where only these are kept."""
    unique = "" if status.unique is None else f" → {status.unique:,} unique"
    return f"{count(status.requests, 'request')}{unique}"


def describe_writing(status: RecordingStatus) -> str:
    """How far what was recorded is written, once the capture has ended."""
    written = f"writing, {count(status.test_cases, 'test case')} so far"
    if not status.backlog_bytes:
        return written
    return f"{written}, {count(status.backlog_bytes, 'byte')} still to be read"


def summarise(status: RecordingStatus, path: Path) -> list[str]:
    """The summary line, then a line for each thing that is not in the recording, and why."""
    lines = [
        f"{_describe_yield(status)} in {status.seconds:.1f} s → {path}; "
        f"captured {show_share(status)} of {count(_sum_up(status), 'byte')} on "
        f"{count(status.connections, 'connection')}"
    ]
    if not status.connections and not status.filtered:
        lines.append(
            "nothing crossed its sockets meanwhile; `ss -tlnp` shows which process listens where"
        )
    lines += [
        f"{count(number, 'connection')} left out by {option}"
        for option, number in status.filtered.items()
    ]
    if status.redacted:
        lines.append(describe_redaction(status.redacted))
    if not status.requests and status.mocks:
        lines.append(f"to run a command on these mocks: kebpf mock {path} -- COMMAND")
    lines += _describe_losses(status)
    lines += _describe_reasons("not parsed", "connection", status.unparsed)
    lines += _describe_reasons("left out", "exchange", status.left_out)
    lines += _describe_reasons("set apart", "case", status.set_apart)
    return lines + [f"note: {escape_controls(note)}" for note in status.notes]


def describe_redaction(redacted: Mapping[str, int]) -> str:
    """``12 values redacted (9 tokens, 3 passwords)``."""
    parts = [count(number, *_KINDS.get(kind, (kind, kind))) for kind, number in redacted.items()]
    return f"{count(sum(redacted.values()), 'value')} redacted ({', '.join(parts)})"


def _describe_losses(status: RecordingStatus) -> list[str]:
    lines = []
    if status.lost_events or status.lost_bytes:
        lines.append(f"lost: {describe_loss(status)}; no case they belong to was kept")
    if status.given_up:
        lines.append(
            f"{count(status.given_up, 'connection')} given up "
            f"({count(status.given_up_bytes, 'byte')}): more came than could be parsed meanwhile; "
            "no case they may belong to was kept; a larger --backlog holds more"
        )
    return lines + [
        f"{count(number, 'connection does', 'connections do')} not add up: {reason}; "
        "this is an error of kebpf's"
        for reason, number in sorted(status.unbalanced.items())
    ]


def _describe_reasons(label: str, noun: str, reasons: Mapping[str, int]) -> list[str]:
    merged = merge_reasons(reasons)
    lines = [
        f"{label}: {count(number, noun)}: {escape_controls(reason)}"
        for reason, number in merged[:MOST_REASONS]
    ]
    rest = merged[MOST_REASONS:]
    if rest:
        number = sum(number for _, number in rest)
        lines.append(f"{label}: {count(number, noun)}: {len(rest)} other reasons")
    return lines


def merge_reasons(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first; as one those that differ by a statement's name or a size only."""
    merged: Counter[str] = Counter()
    kinds: dict[str, set[str]] = {}
    for reason, number in reasons.items():
        kind = _SIZE.sub("bytes", _NAMED_STATEMENT.sub("a statement was prepared", reason))
        merged[kind] += number
        kinds.setdefault(kind, set()).add(reason)
    told = [
        (min(kinds[kind]) if len(kinds[kind]) == 1 else kind, number)
        for kind, number in merged.items()
    ]
    return sorted(told, key=lambda item: (-item[1], item[0]))


def _describe_yield(status: RecordingStatus) -> str:
    if not status.requests and (status.mocks or status.left_out):
        return f"no requests were served; {count(status.mocks, 'call')} recorded as mocks"
    if not status.requests and status.connections:
        return "no test cases and no mocks"
    kept = f"{count(status.test_cases, 'test case')}, {count(status.mocks, 'mock')}"
    if status.unique is not None:
        return f"{describe_requests(status)}: {kept}"
    return f"{kept} from {describe_requests(status)}"


def show_share(status: RecordingStatus) -> str:
    """The captured part of all bytes; never 100 % when even one is missing."""
    total = _sum_up(status)
    if status.captured_bytes == total:
        return "100 %"
    return f"{math.floor(10_000 * status.captured_bytes / total) / 100:.2f} %"


def _sum_up(status: RecordingStatus) -> int:
    return status.captured_bytes + status.lost_bytes + status.given_up_bytes


def summary_object(status: RecordingStatus, path: Path) -> dict[str, Any]:
    """What ``record --json`` ends with."""
    return {
        "test_cases": status.test_cases,
        "mocks": status.mocks,
        "events": status.events,
        "bytes": status.captured_bytes,
        "lost_events": status.lost_events,
        "lost_bytes": status.lost_bytes,
        "connections": status.connections,
        "proven_connections": status.proven,
        "unbalanced_connections": sum(status.unbalanced.values()),
        "given_up_connections": status.given_up,
        "given_up_bytes": status.given_up_bytes,
        "unparsed_connections": sum(status.unparsed.values()),
        "seconds": round(status.seconds, 3),
        "path": str(path),
        "requests": status.requests,
        "left_out": dict(status.left_out),
        "set_apart": dict(status.set_apart),
        "redacted": dict(status.redacted),
        "left_out_connections": dict(status.filtered),
        **({} if status.unique is None else {"unique": status.unique}),
        "unparsed": dict(status.unparsed),
        "unbalanced": dict(status.unbalanced),
        "destinations": dict(status.destinations),
        **status.details,
        "notes": list(status.notes),
    }


def describe_loss(status: RecordingStatus) -> str:
    """``3 events and 40 bytes``."""
    amounts = ((status.lost_events, "event"), (status.lost_bytes, "byte"))
    return " and ".join(count(number, noun) for number, noun in amounts if number)
