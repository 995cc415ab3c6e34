"""What a command is to do: the command line says it or, where it does not, ``kebpf.yml``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from kebpf.cli.command import choose_command, to_words
from kebpf.cli.config import Config
from kebpf.cli.errors import CommandUsageError
from kebpf.cli.options import DEFAULT_BACKLOG, RecordOptions
from kebpf.recording.redaction.rules import Rules

MOST_NEW_SEED = 1_000_000  # short enough to be typed
KINDS = ("--pid", "--cgroup", "--unit", "--container", "-- COMMAND")


def complete_target(options: RecordOptions, config: Config) -> None:
    """Leaves exactly one kind of target in ``options``.

    In ``kebpf.yml`` a unit, a container or a control group comes before the command, which
    ``test`` needs too.  Raises `CommandUsageError`.
    """
    _check_one_kind(_list_given(options))
    if not _list_given(options):
        options.cgroup, options.unit = config.cgroup, config.unit
        options.container = config.container
        configured = _list_given(options)
        if len(configured) > 1:
            keys = " and ".join(kind.removeprefix("--") for kind in configured)
            raise CommandUsageError(f"kebpf.yml names {keys}: one kind of target only")
        if not configured:
            options.command = to_words(choose_command([], None, config.command))
    if not _list_given(options):
        raise CommandUsageError(
            "nothing to record was named", hint=f"name it with {_join_or(KINDS)}"
        )


def complete_filters(options: RecordOptions, config: Config) -> None:
    """Each option that was not given is what ``kebpf.yml`` says.  Raises `CommandUsageError`."""
    options.ports = list(dict.fromkeys(options.ports or config.port))
    options.excluded_ports = list(dict.fromkeys(options.excluded_ports or config.exclude_port))
    options.is_inbound_only = options.is_inbound_only or config.inbound_only
    both = sorted(set(options.ports) & set(options.excluded_ports))
    if both:
        raise CommandUsageError(f"port {both[0]} is both to be recorded and to be left out")


def choose_backlog(given: int | None, config: Config) -> int:
    """In MiB."""
    return given or config.backlog or DEFAULT_BACKLOG


def choose_redaction(wanted: bool | None, keep_events: Path | None, config: Config) -> Rules | None:
    """What redaction is to find beside what it knows; ``None``: nothing is redacted.

    Raises `CommandUsageError` where what is captured is to be kept as it is as well.
    """
    rules = config.redact if wanted is None else (config.redact or Rules()) if wanted else None
    if rules is not None and keep_events is not None:
        raise CommandUsageError(
            "--keep-events keeps all that was sent as it was, secrets included",
            hint="it does with --no-redact",
        )
    return rules


def choose_seed(given: str | None, config: Config) -> int | None:
    """What ``test`` draws its order from; a new seed where only a shuffled order was asked for."""
    wanted = config.shuffle if given is None else given or True
    if wanted is False:
        return None
    return secrets.randbelow(MOST_NEW_SEED) if wanted is True else int(wanted)


def choose_user(given: str | None, options: RecordOptions, config: Config) -> str | None:
    """Who starts the command.  Raises `CommandUsageError` where nothing is to be started."""
    if given and not options.command:
        raise CommandUsageError("--user says who starts a command: it goes with -- COMMAND only")
    return given or config.user


def complete_verification(
    options: RecordOptions, runs: int | None, text: str | None, config: Config
) -> None:
    """How often to replay the recording, and how to start what was recorded, if it was said.

    Raises `CommandUsageError` for a command that nothing is to be done with.
    """
    if text is not None and runs is None:
        raise CommandUsageError("-c says how --verify starts what was recorded: it goes with that")
    if runs is None:
        return
    options.verify_runs, options.noise = runs, config.noise
    options.verify_command = choose_command([], text, options.command or config.command)


def _list_given(options: RecordOptions) -> list[str]:
    values = (
        options.pids,
        options.cgroup is not None,
        options.unit is not None,
        options.container is not None,
        options.command,
    )
    return [kind for kind, value in zip(KINDS, values, strict=True) if value]


def _check_one_kind(given: Sequence[str]) -> None:
    if len(given) > 1:
        raise CommandUsageError(f"give one kind of target only, not {' and '.join(given)}")


def _join_or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
