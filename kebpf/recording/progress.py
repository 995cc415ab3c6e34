"""Where a recording stands, as the assembler tells the command."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Progress:
    """Where a recording stands; sizes in bytes.

    ``missing_payload`` holds process, its name, how it moved bytes unseen, and how many;
    ``served`` by protocol how many connections were only counted, and their bytes.
    ``unlearned`` by server the calls by statements that were prepared before the recording,
    ``unplaced`` those whose database is not known.
    ``proven`` connections have ended and add up; ``unbalanced`` counts by reason those that do
    not, ``unbalanced_names`` are the first of these.
    """

    requests: int = 0
    test_cases: int = 0
    mocks: int = 0
    unique: int | None = None  # shapes of requests, where only unique ones are kept
    events: int = 0
    task_processes: int = 0  # whose asyncio tasks were followed
    connections: int = 0
    captured_size: int = 0
    lost_size: int = 0
    unfollowed_size: int = 0  # of connections the probes had no room for
    lost_events: int = 0
    given_up: int = 0  # connections
    given_up_size: int = 0
    capped: int = 0  # of the connections given up: those that were so to keep to a rate
    proven: int = 0  # connections
    unbalanced: dict[str, int] = field(default_factory=dict)
    unbalanced_names: list[str] = field(default_factory=list)
    unparsed: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)  # connections by option
    destinations: dict[str, int] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)  # of each destination
    missing_payload: list[tuple[int, str, str, int]] = field(default_factory=list)
    served: dict[str, tuple[int, int]] = field(default_factory=dict)
    unlearned: dict[str, dict[str, Any]] = field(default_factory=dict)
    unplaced: dict[str, dict[str, int]] = field(default_factory=dict)
    set_apart: dict[str, int] = field(default_factory=dict)  # cases by reason
    redacted: dict[str, int] = field(default_factory=dict)  # different values by kind
    seconds: float = 0.0
    ending_seconds: float = 0.0  # since the capture ended
    backlog_size: int = 0  # not yet read then

    def as_fields(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)
