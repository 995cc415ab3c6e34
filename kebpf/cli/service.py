"""``kebpf agent`` and ``kebpf status``, as they are declared to typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def agent(
    config: Annotated[
        Path,
        typer.Option(metavar="FILE", help="What to follow, and how much it may use."),
    ] = Path("/etc/kebpf/kebpf.yml"),
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the configuration is right.")
    ] = False,
) -> int:
    """Record services for as long as it runs: the service that systemd starts.

    \b
    kebpf agent [--config FILE]
    """
    from kebpf.cli.agent import check_config, run_agent

    return check_config(config, sys.stdout) if check else run_agent(config)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    socket: Annotated[Path, typer.Option(metavar="PATH", help="Where the agent answers.")] = Path(
        "/run/kebpf/agent.sock"
    ),
) -> int:
    """Say what the agent follows, what it came to, and what went wrong."""
    from kebpf.cli.agent import print_status

    return print_status(socket, as_json, sys.stdout)
