from __future__ import annotations

import shlex

from kebpf.replay.selection import find_idle_patterns, select_cases, write_repeat_command
from tests.replay.sets import SetInMemory, make_case

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def make_set(*names: str) -> SetInMemory:
    cases = [make_case(name, GET, OK, order) for order, name in enumerate(names, 1)]
    return SetInMemory(list(reversed(cases)))


class TestSelectCases:
    def test_without_patterns_all_in_recorded_order(self) -> None:
        selected = select_cases("set", make_set("b", "a", "c"), [])
        assert [case.name for case in selected.cases] == ["b", "a", "c"]

    def test_names_and_globs(self) -> None:
        recorded = make_set("get-a-1", "get-b-2", "post-a-3", "odd[1]")
        for patterns, names in (
            (["get-*"], ["get-a-1", "get-b-2"]),
            (["post-a-3", "get-a-1"], ["get-a-1", "post-a-3"]),
            (["odd[1]"], ["odd[1]"]),
            (["get"], []),
        ):
            selected = select_cases("set", recorded, patterns)
            assert [case.name for case in selected.cases] == names

    def test_patterns_nothing_answers_to_are_named(self) -> None:
        sets = [select_cases("set", make_set("a", "b"), ["a", "x*"])]
        assert find_idle_patterns(sets, ["a", "x*"]) == ["x*"]


class TestRepeatCommand:
    def test_a_shell_reads_it_back(self) -> None:
        command = "FOO='a b' ./serve --port $PORT; echo \"done\""
        line = write_repeat_command("my set", "get-a;b", command)
        words = ["kebpf", "test", "my set", "--case", "get-a;b", "-c", command]
        assert shlex.split(line) == words

    def test_an_argument_list(self) -> None:
        line = write_repeat_command("s", "c", ["./serve", "--name", "a b"])
        words = ["kebpf", "test", "s", "--case", "c", "--", "./serve", "--name", "a b"]
        assert shlex.split(line) == words
