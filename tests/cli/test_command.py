"""How the command that starts the application is given."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.cli.command import choose_command, split_command
from kebpf.cli.errors import CommandUsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python -m shop", ["python", "-m", "shop"]),
        ("python -c 'a b'", ["python", "-c", "a b"]),
        ("serve --port=8000", ["serve", "--port=8000"]),
        ("cd app && ./serve", ["/bin/sh", "-c", "cd app && ./serve"]),
        ("PORT=1 ./serve", ["/bin/sh", "-c", "PORT=1 ./serve"]),
        ("./serve $PORT", ["/bin/sh", "-c", "./serve $PORT"]),
    ],
)
def test_a_text_is_split_or_goes_to_a_shell(text: str, words: list[str]) -> None:
    assert split_command(text) == words


@given(st.lists(st.text("abc './-\"\\"), min_size=1).filter(lambda words: bool(words[0])))
def test_quoted_words_come_back(words: list[str]) -> None:
    assert split_command(shlex.join(words)) == words


@pytest.mark.parametrize("text", ["", "  ", "''", "python 'open"])
def test_a_text_without_a_command_is_refused(text: str) -> None:
    with pytest.raises(CommandUsageError):
        split_command(text)


def test_the_command_line_wins() -> None:
    assert choose_command(["a"], None, "b c") == ["a"]
    assert choose_command([], "a b", "c") == ["a", "b"]
    assert choose_command([], None, "b c") == ["b", "c"]
    assert choose_command([], None, ["b c"]) == ["b c"]
    assert choose_command([], None, None) == []
    with pytest.raises(CommandUsageError, match=r"^give either -c or -- COMMAND, not both$"):
        choose_command(["a"], "b", None)
