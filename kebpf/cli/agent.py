"""``kebpf agent`` and ``kebpf status``: wires supervisor, configuration and report together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

from kebpf.agent.asking import NoAgentError, ask_status
from kebpf.agent.config import ConfigError, load_config
from kebpf.agent.housing import HousingError
from kebpf.agent.journal import Journal
from kebpf.agent.lock import SecondAgentError
from kebpf.agent.notify import Notifier
from kebpf.agent.supervisor import StartError, Supervisor
from kebpf.capture.host import Host
from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError
from kebpf.report.lines import count
from kebpf.report.service import describe_status


def run_agent(config: Path) -> int:
    """Until it is told to end.  Raises `KebpfError`."""
    if os.geteuid() != 0:
        raise KebpfError("the agent needs root", hint="start it with `systemctl start kebpf`")
    if Host().is_in_pid_namespace():
        raise KebpfError("process ids here are not those of the host, which the probes see")
    try:
        Supervisor(config, Journal(), Notifier()).run()
    except ConfigError as error:
        raise CommandUsageError(str(error)) from error
    except (SecondAgentError, StartError, HousingError) as error:
        raise KebpfError(str(error)) from error
    return ExitStatus.PASSED


def check_config(config: Path, out: TextIO) -> int:
    """Raises `CommandUsageError`."""
    try:
        found = load_config(config)
    except ConfigError as error:
        raise CommandUsageError(str(error)) from error
    out.write(f"{config} is right: {count(len(found.targets), 'target')}\n")
    return ExitStatus.PASSED


def print_status(socket: Path, as_json: bool, out: TextIO) -> int:
    """Raises `KebpfError`."""
    try:
        found = ask_status(socket)
    except NoAgentError as error:
        raise KebpfError(str(error)) from error
    out.write(json.dumps(found) + "\n" if as_json else describe_status(found))
    return ExitStatus.PASSED
