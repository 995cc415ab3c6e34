"""The errors a command ends with: one sentence for people and an exit status."""

from __future__ import annotations

import enum

DEBUG_VARIABLE = "KEBPF_DEBUG"
DEFECT_HINT = f"this is a defect in kebpf; {DEBUG_VARIABLE}=1 shows where it happened"


class ExitStatus(enum.IntEnum):
    """What a command's exit status says (docs/reference/exit-statuses.md)."""

    PASSED = 0
    CASE_FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    NOTHING_RAN = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


class KebpfError(Exception):
    """A command cannot go on.

    ``message`` is one sentence without a full stop; ``hint``, if there is one, says on a second
    line what to do.
    """

    exit_status: int = ExitStatus.ENVIRONMENT

    def __init__(
        self, message: str, *, hint: str | None = None, exit_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_status is not None:
            self.exit_status = exit_status


class CommandUsageError(KebpfError):
    """The command line or ``kebpf.yml`` asks for something that makes no sense."""

    exit_status = ExitStatus.USAGE


class NothingToRunError(KebpfError):
    """There is no test case to run."""

    exit_status = ExitStatus.NOTHING_RAN
