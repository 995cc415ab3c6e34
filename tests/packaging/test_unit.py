"""The unit file, as systemd's own tools read and rate it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "kebpf.service"
WORST_EXPOSURE = 4.0  # of 10; what systemd calls "OK" ends at 5


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """As it is installed, its command there."""
    command = tmp_path / "kebpf"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    path = tmp_path / "kebpf.service"
    path.write_text(UNIT.read_text().replace("@BIN@", str(tmp_path)))
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_takes_every_line(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    told = [line for line in done.stderr.splitlines() if "kebpf" in line]
    assert (done.returncode, told) == (0, [])


def test_it_is_rated_well(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    rating = re.search(r"Overall exposure level for kebpf.service: ([\d.]+)", done.stdout)
    assert rating, done.stderr
    assert float(rating[1]) <= WORST_EXPOSURE


def test_every_capability_has_its_reason() -> None:
    text = UNIT.read_text()
    lines = re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    given = {name for line in lines for name in line.split()}
    reasons = [line for line in text.splitlines() if line.startswith("# CAP_")]
    assert given == {name for line in reasons for name in re.findall(r"CAP_[A-Z_]+", line)}
