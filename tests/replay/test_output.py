from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.replay.output import LINE_SIZE_LIMIT, TAIL_LINES, OutputTail


def feed(*pieces: bytes) -> tuple[list[str], list[str]]:
    """The last lines, and all lines that were told of."""
    heard: list[str] = []
    tail = OutputTail(heard.append)
    for piece in pieces:
        tail.receive_data(piece)
    tail.close()
    return tail.lines, heard


@given(st.lists(st.binary(max_size=40)))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = [line.rstrip(b"\r").decode("utf-8", "replace") for line in whole.split(b"\n")]
    if not whole or whole.endswith(b"\n"):
        expected.pop()
    assert feed(*pieces) == (expected[-TAIL_LINES:], expected)


def test_an_unfinished_line_is_among_the_last() -> None:
    tail = OutputTail()
    tail.receive_data(b"one\ntw")
    assert tail.lines == ["one", "tw"]
    tail.receive_data(b"o\n")
    assert tail.lines == ["one", "two"]


def test_lines_are_cut_at_their_limit() -> None:
    lines, _ = feed(b"x" * (LINE_SIZE_LIMIT * 2 + 1) + b"\n\n")
    assert [len(line) for line in lines] == [LINE_SIZE_LIMIT, LINE_SIZE_LIMIT, 1, 0]
