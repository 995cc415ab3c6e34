"""How the command that starts the application is given."""

from __future__ import annotations

import pytest

from kebpf.cli.command import choose_command, to_words
from kebpf.cli.errors import CommandUsageError


def test_the_command_line_wins() -> None:
    assert choose_command(["a"], None, "b c") == ["a"]
    assert choose_command([], "a b", "c") == "a b"
    assert choose_command([], None, "b c") == "b c"
    assert choose_command([], None, ["b c"]) == ["b c"]
    assert choose_command([], None, None) == []


def test_two_commands_or_a_blank_one_are_refused() -> None:
    with pytest.raises(CommandUsageError, match=r"^give either -c or -- COMMAND, not both$"):
        choose_command(["a"], "b", None)
    with pytest.raises(CommandUsageError, match=r"^the command is empty$"):
        choose_command([], " ", "configured")


def test_a_text_is_for_a_shell() -> None:
    assert to_words("cd app && ./serve") == ["/bin/sh", "-c", "cd app && ./serve"]
    assert to_words(["./serve", "a b"]) == ["./serve", "a b"]
