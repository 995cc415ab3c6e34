"""Which cases carry what another made, on cases whose values are known one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from kebpf.recording.model import Mock, TestCase, Tier
from kebpf.replay.dependencies import group_cases

from .builders import get_plain_spec, make_case, make_mock

TOKEN = "5f0c8a5e-93c1-4f2e-8a53-0b6f6f1d2c3e"
OTHER = "0d9a3b52-7c11-4b8e-9d55-6a1e2f3c4b5d"
MOMENT = "2023-11-14T22:13:20.123456Z"


class Spec:
    """Documents are their own view; a call's identity is its request."""

    def view(self, response: Any) -> Any:
        return response

    def identity(self, request: Any) -> Any:
        return get_plain_spec("").identity(request)


def group(cases: Iterable[TestCase], mocks: Iterable[Mock] = ()) -> list[str]:
    """The groups, each as its cases' names in one word."""
    found = group_cases(list(cases), lambda: mocks, lambda _: Spec())  # type: ignore[arg-type, return-value]
    return ["".join(case.name for case in one) for one in found]


def numbered(*cases: TestCase) -> list[TestCase]:
    for order, case in enumerate(cases, 1):
        case.order = order
    return list(cases)


def maker(name: str = "a", token: str = TOKEN) -> TestCase:
    return make_case(name, response={"id": token}, generated={"/id": "{uuid4}"})


def test_who_carries_a_value_in_its_request_goes_with_its_maker() -> None:
    user = make_case("c", request={"path": f"/orders/{TOKEN}"})
    assert group(numbered(maker(), make_case("b"), user)) == ["ac", "b"]


@pytest.mark.parametrize("spelling", [TOKEN.upper(), TOKEN.replace("-", ""), f"Bearer {TOKEN}"])
def test_however_it_is_written(spelling: str) -> None:
    assert group(numbered(maker(), make_case("b", request={"header": spelling}))) == ["ab"]


def test_a_chain_is_one_group_and_order_is_kept() -> None:
    second = make_case(
        "b", request={"of": TOKEN}, response={"id": OTHER}, generated={"/id": "{uuid4}"}
    )
    third = make_case("c", request={"of": OTHER})
    cases = numbered(maker(), second, third, make_case("d"))
    assert group(cases) == ["abc", "d"]
    assert group(reversed(cases)) == ["d", "cba"]


def test_different_makers_are_different_groups() -> None:
    users = make_case("c", request={"of": TOKEN}), make_case("d", request={"of": OTHER})
    assert group(numbered(maker("a"), maker("b", OTHER), *users)) == ["ac", "bd"]


def test_what_comes_in_with_a_call_needs_no_maker() -> None:
    reader = make_case("b", response={"found": TOKEN})
    mock = make_mock("SELECT", answer=[[TOKEN]], case="b")
    assert group(numbered(maker(), reader), [mock]) == ["a", "b"]


def test_what_came_in_from_nowhere_was_kept_by_the_program() -> None:
    assert group(numbered(maker(), make_case("b", response={"found": TOKEN}))) == ["ab"]
    writer = make_mock("INSERT", TOKEN, case="b")
    assert group(numbered(maker(), make_case("b")), [writer]) == ["ab"]


def test_what_a_call_generated_has_its_case_as_maker() -> None:
    mock = make_mock("INSERT", TOKEN, case="a", generated={"/args/0": "{uuid4}"})
    user = make_case("b", request={"path": TOKEN})
    assert group(numbered(make_case("a"), user), [mock]) == ["ab"]


def test_what_the_start_up_made_every_instance_has() -> None:
    mock = make_mock("REGISTER", TOKEN, generated={"/args/0": "{uuid4}"})
    assert mock.tier is Tier.STARTUP
    cases = [make_case(name, response={"node": TOKEN}) for name in "ab"]
    assert group(numbered(*cases), [mock]) == ["a", "b"]


def test_a_time_that_was_made_earlier_is_its_makers() -> None:
    first = make_case(
        "a", response={"at": MOMENT}, generated={"/at": "{time:%Y-%m-%dT%H:%M:%S.%fZ}"}
    )
    again = {"/at": "{seen:time:%Y-%m-%dT%H:%M:%S.%fZ}"}
    shown = make_case("b", response={"at": MOMENT}, generated=again)
    own = make_case("c", response={"at": MOMENT}, generated=dict(first.generated))
    assert group(numbered(first, shown, own)) == ["ab", "c"]


def test_a_call_of_several_cases_does_not_join_them() -> None:
    mock = make_mock("SELECT", "x", candidates=["a", "b"])
    assert group(numbered(make_case("a"), make_case("b")), [mock]) == ["a", "b"]


def test_who_may_have_made_equal_calls_with_unequal_answers_goes_together() -> None:
    """Only their order says who was given which: one instance has to keep it."""
    cases = numbered(*(make_case(name) for name in "abcd"))
    first = make_mock("INCR", "hits", answer=1, candidates=["a", "c"])
    second = make_mock("INCR", "hits", answer=2, candidates=["c", "d"])
    assert group(cases, [first, second]) == ["acd", "b"]
    same = make_mock("INCR", "hits", answer=1, candidates=["c", "d"])
    assert group(cases, [first, same]) == ["a", "b", "c", "d"]
    other = make_mock("INCR", "misses", answer=2, candidates=["c", "d"])
    assert group(cases, [first, other]) == ["a", "b", "c", "d"]
