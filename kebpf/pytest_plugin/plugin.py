"""What pytest loads: cheap to import, and without effect for runs that do not use kebpf."""

from __future__ import annotations

import pytest

from kebpf.pytest_plugin.channel import ChannelError, open_channel
from kebpf.pytest_plugin.guard import MockGuard, NoMocks
from kebpf.pytest_plugin.marks import MARK_HELP


def pytest_configure(config: pytest.Config) -> None:
    """Takes part in the run: under ``kebpf mock`` as the guard of its mocks."""
    config.addinivalue_line("markers", MARK_HELP)
    try:
        channel = open_channel()
    except ChannelError as error:
        raise pytest.UsageError(f"kebpf: {error}") from error
    guard = NoMocks() if channel is None else MockGuard(channel)
    config.pluginmanager.register(guard, "kebpf-mocks")
