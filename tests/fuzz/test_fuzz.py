"""The corpus, and what is near it, through every target; ``make fuzz`` goes far beyond."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import list_targets

CORPUS = Path(__file__).with_name("corpus")
TARGETS = list_targets()
SEEDS = {
    name: [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))] for name in TARGETS
}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def change(draw: Callable[[st.SearchStrategy[int]], int], data: bytes, other: bytes) -> bytes:
    """One thing about bytes is another."""
    at = draw(st.integers(0, len(data)))
    how = draw(st.integers(0, 5))
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    if how == 2:
        number = NUMBERS[draw(st.integers(0, len(NUMBERS) - 1))]
        size = 1 << draw(st.integers(0, 2))
        return data[:at] + (number & (1 << 8 * size) - 1).to_bytes(size, "big") + data[at + size :]
    end = min(len(data), at + draw(st.integers(0, 64)))
    if how == 3:
        return data[:at] + data[end:]
    if how == 4:
        return data[:end] + data[at:end] * draw(st.integers(1, 8)) + data[end:]
    return data[:at] + other[draw(st.integers(0, len(other))) :]


@st.composite
def near(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with a few changes, or anything."""
    data = draw(st.sampled_from([*seeds, b""])) or draw(st.binary(max_size=300))
    for _ in range(draw(st.integers(0, 4))):
        data = change(draw, data, draw(st.sampled_from([*seeds, b""])))
    return data


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus(name: str) -> None:
    """What once made a target fail does so no more; every target has something to start from."""
    assert SEEDS[name]
    for data in SEEDS[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_near_the_corpus(name: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(near(SEEDS[name]))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()


def test_no_corpus_is_of_nothing() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
