"""Equal calls of several cases: red exactly if no assignment of calls to cases explains them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import Miss
from kebpf.recording.model import Mock, Tier
from kebpf.replay.assignment import answer_key
from kebpf.replay.binding import Bindings
from kebpf.replay.call import leaves_of
from kebpf.replay.index import Recorded
from kebpf.replay.matcher import Matcher

from .builders import (
    DATABASE,
    REPLAYED_NS,
    SECOND,
    MemorySet,
    PlainSpec,
    get_plain_spec,
    make_case,
    make_mock,
)

NAMES = "abcde"
UUID = "{:08x}-1111-4111-8111-111111111111"


def run_calls(mocks: Sequence[Mock], turns: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """Each case in turn makes so many calls; how many were red, and how many are missing."""
    cases = {name: make_case(name) for name in NAMES}
    names = [name for name, _ in turns]
    matcher = Matcher(MemorySet(cases.values(), mocks), Bindings(), get_plain_spec, names)
    answers = matcher.for_destination(DATABASE, "plain")
    red = 0
    for name, count in turns:
        matcher.begin_case(cases[name], REPLAYED_NS)
        for _ in range(count):
            answers.answer({"sql": "GET", "args": ["x"]})
        red += sum(finding.count for finding in matcher.end_case(REPLAYED_NS + SECOND))
    return red, len(matcher.finish()[0])


def share(*candidates: str, **changes: Any) -> list[Mock]:
    return [make_mock("GET", "x", candidates=list(names), **changes) for names in candidates]


def test_the_wrong_case_may_use_a_shared_mock_first() -> None:
    mocks = share("ab", "ac")
    for turns in (
        [("a", 1), ("b", 1), ("c", 0)],
        [("a", 1), ("c", 1), ("b", 0)],
        [("b", 1), ("a", 1), ("c", 0)],
    ):
        assert run_calls(mocks, turns) == (0, 0), turns


def test_a_chain_of_any_length_is_followed() -> None:
    mocks = share("ab", "bc", "cd", "de", "ea")
    turns = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]
    for start in range(5):
        assert run_calls(mocks, turns[start:] + turns[:start]) == (0, 0)


def test_one_call_too_many_is_red_and_one_too_few_is_missing() -> None:
    mocks = share("ab", "ac")
    assert run_calls(mocks, [("a", 1), ("b", 1), ("c", 1)]) == (1, 0)
    assert run_calls(mocks, [("a", 1), ("b", 0), ("c", 0)]) == (0, 1)
    assert run_calls(mocks, [("b", 2), ("a", 0), ("c", 0)]) == (1, 1)


def test_other_answers_do_not_change_places() -> None:
    mocks = share("ab", answer=[1]) + share("ac", answer=[2])
    assert run_calls(mocks, [("b", 0), ("c", 0), ("a", 2)]) == (0, 0)
    cases = {name: make_case(name) for name in NAMES}
    matcher = Matcher(MemorySet(cases.values(), mocks), Bindings(), get_plain_spec, "acb")
    answers = matcher.for_destination(DATABASE, "plain")
    given_to = []
    for name in "ab":
        matcher.begin_case(cases[name], REPLAYED_NS)
        given_to.append(answers.answer({"sql": "GET", "args": ["x"]}))
    assert given_to[0] == {"rows": [2]}  # whose last case comes first
    assert given_to[1] == {"rows": [1]}


def test_a_mock_that_a_left_out_request_may_have_made_is_no_call_that_must_come() -> None:
    mocks = share("ab", tier=Tier.BACKGROUND) + share("bc")
    assert run_calls(mocks, [("b", 1), ("c", 0), ("a", 0)]) == (0, 0)
    assert run_calls(mocks, [("b", 1), ("c", 1), ("a", 0)]) == (0, 0)
    assert run_calls(mocks, [("b", 0), ("c", 0), ("a", 1)]) == (0, 1)


def test_what_a_case_that_did_not_run_must_have_made_is_not_missing() -> None:
    mocks = share("ab", "bc")
    assert run_calls(mocks, [("b", 1), ("a", 0)]) == (0, 0)
    assert run_calls(mocks, [("b", 0), ("a", 0)]) == (0, 1)


def test_looking_does_not_change_places() -> None:
    cases = {name: make_case(name) for name in NAMES}
    mocks = share("ab", "ac")
    matcher = Matcher(MemorySet(cases.values(), mocks), Bindings(), get_plain_spec, "abc")
    answers, request = matcher.for_destination(DATABASE, "plain"), {"sql": "GET", "args": ["x"]}
    matcher.begin_case(cases["a"], REPLAYED_NS)
    answers.answer(request)
    matcher.begin_case(cases["b"], REPLAYED_NS)
    for _ in range(3):
        assert answers.peek(request)
    assert not isinstance(answers.answer(request), Miss)
    assert matcher.end_case(REPLAYED_NS + SECOND) == []
    assert matcher.finish()[0] == []


def explains(calls: Sequence[str], mocks: Sequence[str]) -> bool:
    """Whether every call can be another mock's: Hall's theorem, by brute force."""
    return all(
        sum(any(name in mock for name in some) for mock in mocks) >= len(some)
        for size in range(1, len(calls) + 1)
        for some in combinations(calls, size)
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_red_exactly_if_no_assignment_explains_the_calls(data: st.DataObject) -> None:
    sets = st.sets(st.sampled_from(NAMES), min_size=1, max_size=3).map(lambda s: "".join(sorted(s)))
    shared = data.draw(st.lists(sets, min_size=1, max_size=6))
    counts = {name: data.draw(st.integers(0, 2)) for name in NAMES}
    order = data.draw(st.permutations(NAMES))
    calls = [name for name in NAMES for _ in range(counts[name])]
    red, missing = run_calls(share(*shared), [(name, counts[name]) for name in order])
    assert (red == 0) == explains(calls, shared)
    if red == 0:
        assert missing == len(shared) - len(calls)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_was_recorded_passes_in_any_order(rng: random.Random) -> None:
    """Each mock was made by one of its candidates; a part of the cases runs, in any order."""
    made = [rng.choice(NAMES) for _ in range(8)]
    shared = ["".join(sorted({name, *rng.sample(NAMES, rng.randrange(4))})) for name in made]
    tiers = [rng.choice([Tier.CASE, Tier.CASE, Tier.BACKGROUND]) for _ in made]
    mocks = [
        make_mock("GET", "x", candidates=list(names), tier=tier)
        for names, tier in zip(shared, tiers, strict=True)
    ]
    ran = rng.sample(NAMES, rng.randrange(1, 6))
    assert run_calls(mocks, [(name, made.count(name)) for name in ran]) == (0, 0)


def test_answers_are_equal_up_to_what_the_request_generated() -> None:
    keys = []
    for number, row in ((1, 1), (2, 2), (3, 1)):
        token = UUID.format(number)
        mock = make_mock(
            "INSERT", token, answer=[[token, row // 2]], generated={"/args/0": "{uuid4}"}
        )
        leaves = leaves_of(PlainSpec().identity(mock.request))
        keys.append(answer_key(Recorded(1, mock, leaves, str)))
    assert keys[0] == keys[2] != keys[1]
