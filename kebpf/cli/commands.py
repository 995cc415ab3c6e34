"""The commands and their options, as they are declared to typer; each loads only its own module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kebpf.cli.declaring import (
    Invocation,
    OutputOption,
    RootlessOption,
    TrustOption,
    UserOption,
    check_positive_seconds,
    check_seconds,
    check_seed,
    command_behind_dashes,
)
from kebpf.cli.dedup import dedup
from kebpf.cli.diff import diff
from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError
from kebpf.cli.options import (
    DEFAULT_BACKLOG,
    DEFAULT_RING_SIZE,
    DEFAULT_TIMEOUT,
    LEAST_BACKLOG,
    MAX_PORT,
    MOST_BACKLOG,
    MOST_JOBS,
    MOST_RUNS,
    RECORDINGS_FOLDER,
    ClockChoice,
    Door,
    MockOptions,
    RecordOptions,
    TestOptions,
)
from kebpf.cli.reviewing import review
from kebpf.cli.service import agent, status
from kebpf.cli.verifying import verify

__all__ = ["Invocation", "app"]

app = typer.Typer(
    name="kebpf",
    help="Records a running service through eBPF and replays it with everything it depends on"
    " switched off.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"kebpf {version('kebpf')}")
        except PackageNotFoundError:
            typer.echo("kebpf, not installed: run from its source")
        raise typer.Exit


@app.callback()
def _start(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Exactly one of --pid, --cgroup, --unit, --container and -- COMMAND says what to record."
)
def record(
    context: typer.Context,
    pid: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, help="A running process; may be given again."),
    ] = None,
    cgroup: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="All processes of a control group and those below it."),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A systemd unit, over its restarts too."),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(metavar="ID", help="A container by its id, an id's beginning, or its name."),
    ] = None,
    port: Annotated[
        list[int] | None,
        typer.Option(
            metavar="P",
            min=1,
            max=MAX_PORT,
            help="Only connections to a service on port P, its own or another's; may be given"
            " again.",
        ),
    ] = None,
    exclude_port: Annotated[
        list[int] | None,
        typer.Option(
            metavar="P",
            min=1,
            max=MAX_PORT,
            help="No connections to a service on port P; may be given again.",
        ),
    ] = None,
    inbound_only: Annotated[
        bool, typer.Option("--inbound-only", help="Only what it serves, not what it calls.")
    ] = False,
    output: OutputOption = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The test set's name.  [default: made up]")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            callback=check_positive_seconds,
            help="End after S seconds instead of on Ctrl-C.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
    keep_events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also keep the captured events, with all that was sent (needs --no-redact).",
        ),
    ] = None,
    user: UserOption = None,
    verify_runs: Annotated[
        int | None,
        typer.Option(
            "--verify",
            metavar="N",
            min=1,
            max=MOST_RUNS,
            help="Then replay it against the version recorded, N runs a round: kebpf verify.",
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command", "-c", metavar="COMMAND", help="How --verify starts what was recorded."
        ),
    ] = None,
    backlog: Annotated[
        int | None,
        typer.Option(
            metavar="MIB",
            min=LEAST_BACKLOG,
            max=MOST_BACKLOG,
            help="Memory for what was captured and is not parsed yet, in MiB."
            f"  [default: {DEFAULT_BACKLOG}]",
        ),
    ] = None,
    tasks: Annotated[
        bool,
        typer.Option(help="Tell requests apart by asyncio task, where the target is Python's."),
    ] = True,
    tls: Annotated[
        bool, typer.Option(help="Read what the target's TLS libraries encrypt and decrypt.")
    ] = True,
    java_agent: Annotated[
        bool,
        typer.Option(
            "--java-agent", help="Have Java targets report what they encrypt and decrypt."
        ),
    ] = False,
    redact: Annotated[
        bool | None,
        typer.Option(
            "--redact/--no-redact",
            help="Replace passwords, tokens, keys, cards and e-mail addresses before anything is"
            " written: done unless it is switched off.",
            show_default=False,
        ),
    ] = None,
    unique: Annotated[
        bool,
        typer.Option("--unique", help="Keep only exemplars of each shape of request."),
    ] = False,
    door: Annotated[Door, typer.Option(hidden=True)] = Door.AUTO,
    ring_size: Annotated[
        int, typer.Option(metavar="MB", min=1, max=1024, hidden=True)
    ] = DEFAULT_RING_SIZE,
) -> int:
    """Watch a running service and write down test cases and mocks.

    \b
    kebpf record --pid N
    kebpf record --unit NAME
    kebpf record --container ID
    kebpf record -- COMMAND...
    """
    from kebpf.cli.choosing import (
        choose_backlog,
        choose_redaction,
        choose_user,
        complete_filters,
        complete_target,
        complete_verification,
    )
    from kebpf.cli.config import load_config
    from kebpf.cli.record import record as run_record

    config = load_config(Path.cwd())
    options = RecordOptions(
        pids=list(dict.fromkeys(pid or [])),
        cgroup=cgroup,
        unit=unit,
        container=container,
        ports=port or [],
        excluded_ports=exclude_port or [],
        is_inbound_only=inbound_only,
        command=command_behind_dashes(context),
        output=output or config.output or RECORDINGS_FOLDER,
        name=name or config.name,
        duration=duration if duration is not None else config.duration,
        as_json=as_json,
        keep_events=keep_events,
        door=door,
        ring_size=ring_size,
        backlog=choose_backlog(backlog, config),
        with_tasks=tasks,
        with_tls=tls,
        with_java_agent=java_agent,
        redact=choose_redaction(redact, keep_events, config),
        is_unique=unique or config.unique,
        leave_out=config.list_left_out(unique or config.unique),
    )
    complete_target(options, config)
    complete_filters(options, config)
    options.user = choose_user(user, options, config)
    complete_verification(options, verify_runs, command, config)
    return run_record(options)


@app.command()
def test(
    context: typer.Context,
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET",
            help="Names under the folder of recordings, or paths.  [default: all]",
            show_default=False,
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", "-c", metavar="COMMAND", help="How to start the application."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run only this case; may be given again."),
    ] = None,
    shuffle: Annotated[
        str | None,
        typer.Option(
            metavar="[SEED]",
            callback=check_seed,
            help="Run the cases in an order drawn from SEED.  [default: a new one]",
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Start the application anew for each case: slow.")
    ] = False,
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="Run in a network of its own, with only loopback."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=MOST_JOBS,
            help="Run N instances side by side, each isolated.  [default: 1]",
        ),
    ] = None,
    rootless: RootlessOption = False,
    output: OutputOption = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit XML report.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write run events as JSON lines.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report to read in a browser.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report for a pull request.")
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            callback=check_seconds,
            help="Wait S seconds more once it listens.  [default: 0]",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            callback=check_positive_seconds,
            help=f"What one request may take, in seconds.  [default: {DEFAULT_TIMEOUT:g}]",
        ),
    ] = None,
    clock: Annotated[
        ClockChoice | None,
        typer.Option(
            metavar="real|recorded",
            help="In which time the application lives: today, or that of the recording.  "
            "[default: real]",
        ),
    ] = None,
    user: UserOption = None,
    trust: TrustOption = None,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", "-x", help="End the run after the first case that fails."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all differences and unused mocks.")
    ] = False,
) -> int:
    """Start the application, answer its calls from the recording, send it the recorded requests.

    \b
    kebpf test -c "COMMAND" [SET]...
    kebpf test [SET]... -- COMMAND...
    """
    from kebpf.cli.choosing import choose_seed
    from kebpf.cli.command import choose_command
    from kebpf.cli.config import load_config
    from kebpf.cli.sets import find_test_sets
    from kebpf.cli.test import run_test

    config = load_config(Path.cwd())
    chosen = choose_command(command_behind_dashes(context), command, config.command)
    if not chosen:
        raise CommandUsageError(
            "how to start the application was not said",
            hint='say it with -c "COMMAND", -- COMMAND or the key command in kebpf.yml',
        )
    return run_test(
        TestOptions(
            test_sets=find_test_sets(sets or [], output or config.output or RECORDINGS_FOLDER),
            command=chosen,
            cases=case or [],
            shuffle=choose_seed(shuffle, config),
            is_alone=alone or config.alone,
            is_isolated=isolated or config.isolated,
            jobs=jobs or config.jobs or 1,
            is_rootless=rootless or config.rootless,
            junit=junit,
            json=json,
            html=html,
            markdown=markdown,
            delay=delay if delay is not None else config.delay or 0.0,
            timeout=timeout or config.timeout or DEFAULT_TIMEOUT,
            user=user or config.user,
            trust=[*(trust or []), *config.trust],
            noise=config.noise,
            verbose=verbose,
            is_failing_fast=fail_fast,
            clock=clock or config.clock or ClockChoice.REAL,
        ),
        sys.stdout,
    )


app.command()(verify)
app.command()(diff)
app.command()(dedup)
app.command()(review)


@app.command(epilog="The exit status is COMMAND's; 1 in place of 0 when a call found no mock.")
def mock(
    context: typer.Context,
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET",
            help="Names under the folder of recordings, or paths.  [default: all]",
            show_default=False,
        ),
    ] = None,
    rootless: RootlessOption = False,
    output: OutputOption = None,
    user: UserOption = None,
    trust: TrustOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all misses.")] = False,
) -> int:
    """Run a command with its calls answered from recorded mocks.

    \b
    kebpf mock [SET]... -- COMMAND...
    """
    from kebpf.cli.config import load_config
    from kebpf.cli.mock import run_mock
    from kebpf.cli.sets import find_test_sets

    config = load_config(Path.cwd())
    command = command_behind_dashes(context)
    if not command:
        raise CommandUsageError("what to run was not said", hint="say it with -- COMMAND")
    folder = output or config.output or RECORDINGS_FOLDER
    return run_mock(
        MockOptions(
            test_sets=find_test_sets(sets or [], folder),
            command=command,
            user=user or config.user,
            is_rootless=rootless or config.rootless,
            verbose=verbose,
            trust=[*(trust or []), *config.trust],
            noise=config.noise,
            folder=folder,
            is_default=not sets,
        )
    )


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="SET",
            help="A name under the folder of recordings, or a path.  [default: all]",
        ),
    ] = None,
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Print what a recording holds: its test cases and mocks."""
    from kebpf.cli.config import load_config
    from kebpf.cli.sets import find_test_sets
    from kebpf.cli.show import show as run_show
    from kebpf.recording.errors import TestSetError

    folder = output or load_config(Path.cwd()).output or RECORDINGS_FOLDER
    try:
        for path in find_test_sets([name] if name else [], folder):
            run_show(path, as_json, sys.stdout)
    except TestSetError as error:
        raise KebpfError(str(error)) from error
    return ExitStatus.PASSED


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say whether this host can record and replay, and what is in the way."""
    from kebpf.cli.doctor import doctor as run_doctor

    return run_doctor(as_json, sys.stdout)


app.command()(agent)
app.command()(status)
