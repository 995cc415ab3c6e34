"""Probes of either door, and the programs of the matrix, compiled once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.probes import Probes
from tests.capture.doors import DOORS

pytest.register_assert_rewrite("tests.capture.matrix.accounts")

HERE = Path(__file__).parent
RING_SIZE = 32 << 20


@pytest.fixture(scope="package", params=DOORS)
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """Attached, with nobody to watch yet."""
    made = Probes(request.param, ring_size=RING_SIZE)
    made.attach()
    yield made
    made.close()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each C program of this folder, compiled."""
    folder = tmp_path_factory.mktemp("programs")
    for source in HERE.glob("*.c"):
        command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
        subprocess.run([*command, "-o", str(folder / source.stem), str(source)], check=True)
    return folder
