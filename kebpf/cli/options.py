"""What the command line and ``kebpf.yml`` together ask of each command."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `--help` loads nothing of a run
    from kebpf.recording.dedup.leaving import LeaveOut
    from kebpf.recording.redaction.rules import Rules
    from kebpf.replay.noise import NoiseRule

RECORDINGS_FOLDER = Path("kebpf")
DEFAULT_TIMEOUT = 30.0
DEFAULT_RUNS = 3
MOST_RUNS = 100
MOST_JOBS = 256
DEFAULT_RING_SIZE = 4
DEFAULT_BACKLOG = 64
LEAST_BACKLOG = 4
MOST_BACKLOG = 65536
MAX_PORT = 65535


class Door(enum.StrEnum):
    """Which tracepoints the capture uses: ``a`` (Linux ≥ 6.3), ``b`` (older), or as fits."""

    A = "a"
    B = "b"
    AUTO = "auto"


class ClockChoice(enum.StrEnum):
    """In which time a tested application lives."""

    REAL = "real"
    RECORDED = "recorded"


@dataclass(slots=True)
class RecordOptions:
    """``duration`` is in seconds, ``ring_size`` and ``backlog`` in MiB.

    Exactly one of ``pids``, ``cgroup``, ``unit``, ``container`` and ``command`` is given.  With
    ``verify_runs`` the recording is verified with ``verify_command``, if one is known.  With
    ``is_unique`` only exemplars of each shape of request are kept; ``leave_out`` says of which
    requests none is.  Nothing is redacted where ``redact`` is ``None``.
    """

    pids: list[int] = field(default_factory=list)
    cgroup: Path | None = None
    unit: str | None = None
    container: str | None = None
    ports: list[int] = field(default_factory=list)
    excluded_ports: list[int] = field(default_factory=list)
    is_inbound_only: bool = False
    command: list[str] = field(default_factory=list)
    output: Path = RECORDINGS_FOLDER
    name: str | None = None
    duration: float | None = None
    as_json: bool = False
    keep_events: Path | None = None
    door: Door = Door.AUTO
    ring_size: int = DEFAULT_RING_SIZE
    backlog: int = DEFAULT_BACKLOG
    user: str | None = None
    verify_runs: int | None = None
    verify_command: str | list[str] = ""
    noise: list[NoiseRule] = field(default_factory=list)
    with_tasks: bool = True
    with_tls: bool = True
    with_java_agent: bool = False
    redact: Rules | None = None
    is_unique: bool = False
    leave_out: list[LeaveOut] = field(default_factory=list)


@dataclass(slots=True)
class TestOptions:
    """``timeout`` is seconds a request may take, ``delay`` seconds to wait once it listens.

    A ``command`` that is one text is for ``/bin/sh -c``; words are executed as they are.
    ``shuffle`` is the seed of the cases' order, if it is not the recorded one; ``is_isolated`` asks
    for a network of the run's own, ``is_rootless`` for one that needs no rights, ``jobs`` for
    so many instances, each in one of its own.  ``trust`` are files of authorities that the
    application trusts.
    """

    __test__ = False

    test_sets: list[Path]
    command: str | list[str]
    cases: list[str] = field(default_factory=list)
    shuffle: int | None = None
    is_alone: bool = False
    is_isolated: bool = False
    jobs: int = 1
    is_rootless: bool = False
    junit: Path | None = None
    json: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    delay: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    user: str | None = None
    trust: list[Path] = field(default_factory=list)
    noise: list[NoiseRule] = field(default_factory=list)
    verbose: bool = False
    is_failing_fast: bool = False
    clock: ClockChoice = ClockChoice.REAL


@dataclass(slots=True)
class VerifyOptions:
    """``runs`` are those of a round; the rest is as in `TestOptions`."""

    test_sets: list[Path]
    command: str | list[str]
    runs: int = DEFAULT_RUNS
    delay: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    user: str | None = None
    trust: list[Path] = field(default_factory=list)
    noise: list[NoiseRule] = field(default_factory=list)
    verbose: bool = False
    as_json: bool = False


@dataclass(slots=True)
class ReviewOptions:
    """Either ``run`` is there or ``command``; ``folder`` is where ``kebpf.yml`` lies.

    ``patterns`` say what is accepted without asking; the rest is as in `TestOptions`.
    """

    test_sets: list[Path]
    folder: Path
    run: Path | None = None
    command: str | list[str] = field(default_factory=list)
    is_accepting_all: bool = False
    patterns: list[str] = field(default_factory=list)
    delay: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    user: str | None = None
    trust: list[Path] = field(default_factory=list)
    noise: list[NoiseRule] = field(default_factory=list)
    verbose: bool = False


@dataclass(slots=True)
class MockOptions:
    """The words of ``command`` are executed as they are.

    ``folder`` is where sets are that a test names; ``is_default``: nobody named ``test_sets``.
    """

    test_sets: list[Path]
    command: list[str]
    user: str | None = None
    is_rootless: bool = False
    verbose: bool = False
    trust: list[Path] = field(default_factory=list)
    noise: list[NoiseRule] = field(default_factory=list)
    folder: Path = RECORDINGS_FOLDER
    is_default: bool = False
