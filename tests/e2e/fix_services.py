"""The shop's servers, started once for all tests that ask for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.services import Services


def why_not() -> str | None:
    """What is missing to start the servers, if anything."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and not shutil.which("initdb"):
        return "PostgreSQL is not installed"
    if not shutil.which("redis-server"):
        return "Redis is not installed"
    if not shutil.which("setpriv"):
        return "setpriv (util-linux) is not installed"
    return None


@pytest.fixture(scope="session")
def shop_services() -> Iterator[Services]:
    """Servers and rates service without the shop, in the state of the last test: `reset` them."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    os.environ.pop("SHOP_BUG", None)
    with Services(log_statements=True) as services:
        yield services
