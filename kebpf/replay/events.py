"""Run events: what the runner yields and the reports are made of, in the order they happen."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from kebpf.replay.noise import NoiseUse


class Verdict(enum.Enum):
    """How one case ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Exact:
    """A document of which a run file keeps every byte (see `kebpf.recording.exact`)."""

    tree: Any


@dataclass(frozen=True, slots=True)
class Revision:
    """What a review needs of a case that failed.

    ``response`` is the whole of it in the recording's own terms (what is bound to a recorded value
    is that value), ``None`` where nothing of it differs.  ``start_ns`` and ``end_ns`` are the time
    in which it was made, ``shift_ns`` is how far that is from the recording by the last time that
    was told in both.
    """

    response: Exact | None
    start_ns: int
    end_ns: int
    shift_ns: int


class MissKind(enum.Enum):
    """Why a call found no mock."""

    NEVER_RECORDED = "never recorded"
    DIFFERENT = "recorded but different"
    USED_UP = "recorded and used up"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference in a response: JSON-pointer ``path``, what was recorded, what came.

    ``kind`` is ``changed``, ``missing`` (recorded, did not come), ``extra`` or ``order``.
    ``place`` is where ``TestCase.generated`` knows the recorded value, if there is one.
    """

    path: str
    kind: str
    expected: Any = None
    actual: Any = None
    place: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CallFinding:
    """An outgoing call that is not as recorded.

    ``kind`` is ``missing``, ``extra``, ``changed``, ``repeated`` or ``reordered``; ``call`` and
    ``nearest`` are one-line descriptions; ``fields`` are the differing parts between them.
    ``count`` is how many calls this one finding stands for: the same call made again
    (``repeated``), or calls of one operation (``extra``; ``examples`` are some of them).
    ``recorded`` is how often it, or that operation, was recorded for the case to make, ``made``
    how often the case made it; ``operation`` is equal for calls that differ in their ids and
    numbers only; ``note`` says where it was recorded, or who used it up.
    ``mock`` names the recorded call: the one that is missing, or that ``fields`` compare with.
    ``request`` is the call in the recording's own terms; ``is_unanswered`` says that it got an
    error in place of an answer, ``answer`` names the mock whose answer it got.
    """

    kind: str
    protocol: str
    destination: str
    call: str
    miss: MissKind | None = None
    nearest: str | None = None
    fields: list[Mismatch] = field(default_factory=list)
    count: int = 1
    recorded: int | None = None
    made: int | None = None
    note: str | None = None
    examples: list[str] = field(default_factory=list)
    is_read: bool = False
    operation: str = ""
    mock: str | None = field(default=None, compare=False)
    request: Exact | None = field(default=None, compare=False)
    is_unanswered: bool = field(default=False, compare=False)
    answer: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """``shuffle`` is the seed of the order, if it is not the recorded one.

    ``jobs`` is how many instances of the application run side by side.
    """

    test_sets: list[str]
    cases: int
    command: list[str]
    shuffle: int | None = None
    is_alone: bool = False
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class ApplicationReady:
    test_set: str
    pid: int
    ports: list[int]
    seconds: float
    paths: list[str] = field(default_factory=list)  # of Unix sockets


@dataclass(frozen=True, slots=True)
class CallTiming:
    """An outgoing call of a case beside its recording; times in seconds after the request.

    ``at`` is when it came, ``recorded_at`` when it was recorded to begin, ``recorded_seconds`` how
    long the recorded server took: each ``None`` where there is nothing to tell.  Without ``at`` the
    call was not made, without ``mock``, the name of the recorded call, it is not the case's own.
    """

    call: str
    protocol: str
    destination: str
    mock: str | None = None
    at: float | None = None
    recorded_at: float | None = None
    recorded_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CaseFinished:
    """One case's end.

    ``classes`` are the values compared by class: path in the recorded response, class.
    ``recorded_seconds`` and ``answered_seconds`` are how long the response took, then and now;
    ``seconds`` is all of the case.  ``sent``, the request, and ``timings`` are there only when a
    report asks for them, ``timings`` up to a cap.  ``unplaced`` of the values not compared are the
    databases of calls, which the recording does not know.
    """

    test_set: str
    case: str
    request: str
    verdict: Verdict
    seconds: float
    mismatches: list[Mismatch] = field(default_factory=list)
    calls: list[CallFinding] = field(default_factory=list)
    error: str | None = None
    curl: str = ""
    repeat: str = ""
    exact: int = 0
    by_class: int = 0
    not_compared: int = 0
    expected: Any = None
    actual: Any = None
    revision: Revision | None = None
    recorded: str = ""  # of a case that failed: `fingerprint_case` of what it was compared with
    classes: dict[str, str] = field(default_factory=dict)
    recorded_seconds: float | None = None
    answered_seconds: float | None = None
    sent: Any = None
    timings: list[CallTiming] = field(default_factory=list)
    unplaced: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every mock of a run: used, unused; and calls that found none.

    ``unused`` are names, ``more_unused`` is the number of those beyond a cap.  ``unasserted``
    counts the calls that were answered though no case need make them, because a request that was
    left out of the recording may have made them there.  ``cached`` are reads that a case made, or
    left out, because a cache of the program was in another state than when they were recorded, or
    because the program gives such reads up while they are under way, as it did when recorded.
    When the application was started for each case alone, ``used`` is the sum over these starts.
    """

    used: int = 0
    unused: list[str] = field(default_factory=list)
    misses: int = 0
    more_unused: int = 0
    unasserted: int = 0
    cached: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The environment or the application failed; ``output`` is the application's last lines."""

    reason: str
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunFinished:
    passed: int
    failed: int
    errored: int
    skipped: int
    misses: int
    unused_mocks: int
    seconds: float
    findings: list[CallFinding] = field(default_factory=list)  # those that belong to no one case
    failed_cases: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    noise: list[NoiseUse] = field(default_factory=list)
    set_apart: dict[str, str] = field(default_factory=dict)  # cases kept but not run, and why


RunEvent = RunStarted | ApplicationReady | CaseFinished | RunFailed | RunFinished
