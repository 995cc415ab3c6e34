"""What pytest loads: cheap to import, and without effect for runs that do not use kebpf."""

from __future__ import annotations

import pytest

from kebpf.pytest_plugin.channel import ChannelError, open_channel
from kebpf.pytest_plugin.guard import MockGuard, NoMocks
from kebpf.pytest_plugin.marks import MARK_HELP


def pytest_addoption(parser: pytest.Parser) -> None:
    """Recorded cases as tests."""
    group = parser.getgroup("kebpf", "recorded cases as tests")
    group.addoption(
        "--kebpf",
        action="append",
        default=[],
        dest="kebpf_sets",
        metavar="DIR",
        help="run the cases of a test set, or of all in a folder, each as a test; repeatable",
    )
    group.addoption(
        "--kebpf-command",
        metavar="COMMAND",
        help="how to start the application (default: the key command in kebpf.yml)",
    )
    group.addoption(
        "--kebpf-isolated",
        action="store_true",
        help="give the application a network of its own; each worker of xdist has one anyway",
    )
    group.addoption(
        "--kebpf-rootless",
        action="store_true",
        help="the same without root and eBPF: intercept every address in a user namespace",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Takes part in the run: under ``kebpf mock`` as the guard of its mocks."""
    config.addinivalue_line("markers", MARK_HELP)
    if config.getoption("kebpf_sets"):
        from kebpf.pytest_plugin.cases import prepare

        prepare(config)
    try:
        channel = open_channel()
    except ChannelError as error:
        raise pytest.UsageError(f"kebpf: {error}") from error
    if channel is not None and channel.refusal and config.getoption("numprocesses", None):
        raise pytest.UsageError(f"kebpf: {channel.refusal}")
    guard = NoMocks() if channel is None else MockGuard(channel)
    config.pluginmanager.register(guard, "kebpf-mocks")
