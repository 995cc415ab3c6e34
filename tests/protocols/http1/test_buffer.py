"""Where each byte came from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Mark
from kebpf.protocols.http1.buffer import MarkedBuffer


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=8),
    st.lists(st.integers(1, 7), min_size=1, max_size=20),
)
def test_every_byte_knows_its_piece(sizes: list[int], takes: list[int]) -> None:
    """The oracle: a list with the piece number of every byte."""
    buffer = MarkedBuffer()
    owners: list[int] = []
    for number, size in enumerate(sizes):
        buffer.append(b"x" * size, Mark(number, 0, len(owners)))
        owners += [number] * size
    position = 0
    for take in takes:
        if not buffer.data:
            break
        assert buffer.get_piece().time_ns == owners[position]
        assert buffer.get_mark().offset == position
        position += len(buffer.take(take))
        assert buffer.last.time_ns == owners[position - 1]


def test_clear_and_go_on() -> None:
    buffer = MarkedBuffer()
    buffer.append(b"abc", Mark(1, 0, 0))
    assert buffer.take(1) == b"a"
    buffer.clear()
    assert buffer.take(5) == b""
    buffer.append(b"de", Mark(2, 0, 10))
    assert buffer.get_mark() == Mark(2, 0, 10)
    assert buffer.take(9) == b"de"
