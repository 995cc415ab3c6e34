"""The plug-in in runs that have nothing to do with kebpf: it costs nothing and does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from examples.recorder import with_sources
from tests.pytest_plugin.runs import run_pytest

HEAVY = ("asyncio", "yaml", "rich", "typer", "msgpack", "pyroute2", "kebpf.replay", "kebpf.cli")


def test_importing_it_loads_nothing_of_a_run() -> None:
    code = """
import sys, pytest
before = set(sys.modules)
import kebpf.pytest_plugin.plugin
sys.stdout.write(" ".join(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=with_sources({}),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    assert "kebpf.pytest_plugin.plugin" in loaded
    assert [name for name in loaded if name.startswith(HEAVY)] == []
    assert [name for name in loaded if not name.startswith("kebpf")] == []


def test_other_runs_are_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "@pytest.mark.skip\n"
        "@pytest.mark.kebpf('shop')\n"
        "def test_skipped(): pass\n"
    )
    done = run_pytest(tmp_path)
    assert (done.status, done.said) == (1, "")
    assert done.outcomes["test_good"] == ["PASSED"]
    assert done.outcomes["test_bad"] == ["FAILED"]
    assert done.outcomes["test_skipped"] == ["SKIPPED"]
    assert "kebpf(*sets" in run_pytest(tmp_path, "--markers").output


def test_a_kebpf_that_is_gone_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_good(): pass\n")
    done = run_pytest(tmp_path, environment={"KEBPF_MOCK_SOCKET": str(tmp_path / "gone")})
    assert done.status == 4
    assert "ERROR: kebpf: kebpf mock is not there any more" in done.said
