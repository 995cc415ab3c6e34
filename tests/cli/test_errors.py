"""The errors a command ends with."""

from __future__ import annotations

from kebpf.cli.errors import CommandUsageError, KebpfError, NothingToRunError


def test_each_error_has_its_exit_status() -> None:
    assert KebpfError("it fails").exit_status == 3
    assert CommandUsageError("it makes no sense").exit_status == 2
    assert NothingToRunError("there is nothing").exit_status == 4
    assert KebpfError("it fails", exit_status=1).exit_status == 1


def test_an_error_reads_as_its_sentence() -> None:
    error = KebpfError("it fails", hint="do this")
    assert (str(error), error.hint) == ("it fails", "do this")
