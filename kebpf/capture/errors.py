"""Why a target cannot be recorded; one sentence says why and what to do."""

from __future__ import annotations


class TargetError(Exception):
    """It cannot be recorded as it was asked for."""


class NoTargetError(TargetError):
    """There is no such process, group, unit or container, or none any more."""
