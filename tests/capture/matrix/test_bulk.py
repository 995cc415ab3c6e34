"""Bodies of 64 MiB in one call: whole where the limit allows it, else a gap of the right size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.probes import DEFAULT_CALL_LIMIT, Probes
from tests.capture.doors import DOORS
from tests.capture.matrix.accounts import IN, OUT, assert_accounted, assert_whole
from tests.capture.matrix.mover import Mover
from tests.capture.programs import make_bytes

pytestmark = pytest.mark.kernel

SIZE = 64 << 20
MUCH = make_bytes(SIZE)


@pytest.fixture(params=DOORS)
def wide_probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """They copy all of it, and the ring holds it."""
    made = Probes(request.param, ring_size=256 << 20, call_limit=SIZE)
    made.attach()
    yield made
    made.close()


def test_what_is_beyond_the_limit_is_a_gap(probes: Probes, programs: Path, tmp_path: Path) -> None:
    mover = Mover(probes, programs, tmp_path)
    capture, _ = mover.run("at_once", "at_once", MUCH, MUCH)
    seen = capture.only
    assert_accounted(capture, seen, MUCH, MUCH)
    behind = SIZE - DEFAULT_CALL_LIMIT
    assert seen.gaps(OUT) == seen.gaps(IN) == [(DEFAULT_CALL_LIMIT, behind)]
    assert seen.connection.missing_payload == {"beyond the limit of one call": 2 * behind}


def test_one_call_is_whole(wide_probes: Probes, programs: Path, tmp_path: Path) -> None:
    mover = Mover(wide_probes, programs, tmp_path)
    capture, _ = mover.run("at_once", "at_once", MUCH, MUCH)
    assert_whole(capture, capture.only, MUCH, MUCH)
