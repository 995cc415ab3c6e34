"""Says what the tests found to run with; where skipping is no excuse, makes it a failure."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is, is no matter of tests.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["tests.e2e.fix_services"]

REQUIRE_VARIABLE = "KEBPF_REQUIRE_KERNEL"
REQUIRED_MARKERS = ("kernel", "postgres", "redis", "e2e")
OS_RELEASE = Path("/etc/os-release")


def _first_line(*command: str) -> str:
    """What a program says of its version, or that it is not there."""
    if shutil.which(command[0]) is None:
        return "none"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["none"])[0]


def pytest_report_header() -> list[str]:
    """Kernel, bcc, PostgreSQL and Redis."""
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    bcc = _first_line("/usr/bin/python3", "-c", "import bcc; print(bcc.__version__)")
    must = "must run" if _is_required() else "are skipped where something is missing"
    return [
        f"kernel: {platform.release()} {platform.machine()}, uid {os.geteuid()}, bcc: {bcc}",
        f"postgres: {_first_line(str(servers[-1]), '--version') if servers else 'none'}",
        f"redis: {_first_line('redis-server', '--version')}",
        f"tests of kernel and servers {must} ({REQUIRE_VARIABLE})",
    ]


def _is_required() -> bool:
    return os.environ.get(REQUIRE_VARIABLE) == "1"


def _required_markers() -> tuple[str, ...]:
    """A browser with its driver is in Debian, not in Ubuntu."""
    is_debian = OS_RELEASE.exists() and "ID=debian" in OS_RELEASE.read_text().splitlines()
    return (*REQUIRED_MARKERS, "browser") if is_debian else REQUIRED_MARKERS


def _say_why(longrepr: object) -> str:
    """The reason of a skip, whose report is a (file, line, reason) triple."""
    reason = longrepr[2] if isinstance(longrepr, tuple) else longrepr
    return f"skipped where it must run ({REQUIRE_VARIABLE}=1): {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns skips of marked tests into failures."""
    report = yield
    is_marked = any(item.get_closest_marker(name) for name in _required_markers())
    if report.skipped and is_marked and _is_required() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = _say_why(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turns skips of whole modules into failures: who knows what is in them."""
    report = yield
    if report.skipped and _is_required():
        report.outcome = "failed"
        report.longrepr = _say_why(report.longrepr)
    return report
