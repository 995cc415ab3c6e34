from __future__ import annotations

import shlex

from kebpf.replay.selection import (
    find_idle_patterns,
    select_cases,
    shuffle_cases,
    split_cases,
    write_repeat_command,
)
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

    def test_what_a_case_needs_comes_before_it_run_or_not(self) -> None:
        recorded = make_set("a", "b", "c", "d")
        for name, needs in (("b", ["a", "gone"]), ("d", ["b", "d"])):
            next(case for case in recorded.cases() if case.name == name).needs = needs
        selected = select_cases("set", recorded, ["d", "c"])
        assert [case.name for case in selected.cases] == ["c", "d"]
        needed = {case.name: selected.list_needed(case) for case in selected.cases}
        assert {name: [one.name for one in found] for name, found in needed.items()} == {
            "c": [],
            "d": ["a", "b"],
        }


class TestOrder:
    def test_a_seed_is_one_order_of_all_cases(self) -> None:
        names = [f"case-{number}" for number in range(20)]
        selected = select_cases("set", make_set(*names), [])
        orders = [[case.name for case in shuffle_cases(selected, seed).cases] for seed in (1, 1, 2)]
        assert orders[0] == orders[1] != orders[2] != names
        assert sorted(orders[0]) == sorted(orders[2]) == sorted(names)

    def test_each_case_alone(self) -> None:
        parts = split_cases(select_cases("set", make_set("b", "a"), []))
        assert [[case.name for case in part.cases] for part in parts] == [["b"], ["a"]]
        assert {part.name for part in parts} == {"set"}


class TestRepeatCommand:
    def test_a_shell_reads_it_back(self) -> None:
        command = "FOO='a b' ./serve --port $PORT; echo \"done\""
        line = write_repeat_command("my set", ["get-a;b"], command)
        words = ["kebpf", "test", "my set", "--case", "get-a;b", "-c", command]
        assert shlex.split(line) == words

    def test_an_argument_list(self) -> None:
        line = write_repeat_command("s", ["c"], ["./serve", "--name", "a b"])
        words = ["kebpf", "test", "s", "--case", "c", "--", "./serve", "--name", "a b"]
        assert shlex.split(line) == words

    def test_an_order(self) -> None:
        line = write_repeat_command("s", ["a*", "b"], ["./serve"], 0)
        words = ["kebpf", "test", "s", "--case", "a*", "--case", "b", "--shuffle=0", "--"]
        assert shlex.split(line) == [*words, "./serve"]
        assert write_repeat_command("s", [], "x", 3) == "kebpf test s --shuffle=3 -c x"
