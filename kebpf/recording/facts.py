"""What a recording knows of itself beside its cases and mocks, and the manifest made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypedDict

from kebpf.recording.model import Losses, Manifest

#: Among what a manifest says besides: that, and when, a recording was cut off.
CUT_OFF = "cut_off"


class Facts(TypedDict, total=False):
    """Fields of a `Manifest`; what is missing is not known."""

    created_ns: int
    kebpf_version: str
    kernel: str
    command: Sequence[str]
    executable: str
    ports: Sequence[int]
    target: str
    filters: Sequence[str]
    events: int
    captured_bytes: int
    seconds: float
    losses: Losses
    extra: dict[str, Any]


def make_manifest(
    name: str, facts: Facts, ports: Sequence[int], left_out: Mapping[str, int]
) -> Manifest:
    """``ports`` served requests; ``left_out`` counts by reason the exchanges kept out."""
    losses = facts.get("losses", Losses())
    reasons = dict(losses.left_out)
    for reason, count in left_out.items():
        reasons[reason] = reasons.get(reason, 0) + count
    return Manifest(
        name=name,
        created_ns=facts.get("created_ns", 0),
        kebpf_version=facts.get("kebpf_version", ""),
        kernel=facts.get("kernel", ""),
        command=list(facts.get("command", ())),
        executable=facts.get("executable", ""),
        ports=list(dict.fromkeys([*facts.get("ports", ()), *ports])),
        target=facts.get("target", ""),
        filters=list(facts.get("filters", ())),
        events=facts.get("events", 0),
        captured_bytes=facts.get("captured_bytes", 0),
        seconds=facts.get("seconds", 0.0),
        losses=replace(losses, left_out=reasons),
        extra=facts.get("extra", {}),
    )


def describe_cut_off(said: Mapping[str, Any]) -> str:
    """The sentence on a recording that was cut off, of what its manifest says of that."""
    when = datetime.fromtimestamp(said["time_ns"] / 1e9, tz=UTC)
    text = (
        f"the recording was cut off at {when:%Y-%m-%d %H:%M:%S} UTC; what was complete by then "
        "is here"
    )
    if damaged := said.get("damaged_cases"):
        text += f", but for {damaged:,} that the disk has damaged since"
    return text
