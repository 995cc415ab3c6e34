"""Of much traffic just the exemplars stay, of every shape; memory stays as it is."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.protocols.registry import get_protocol
from kebpf.recording.dedup.groups import Fields
from kebpf.recording.dedup.stream import (
    ATTIC_SIZE,
    MOST_DEPTH,
    MOST_FAILURES,
    MOST_FAILURES_OF_SHAPE,
    MOST_SLOW,
    SLOW_SHARE,
    Arrival,
    Stream,
)
from kebpf.recording.dedup.ties import Ties
from kebpf.recording.dedup.traits import Called, Traits, find_traits
from tests.recording.dedup.exchanges import make_shapes, make_traffic
from tests.recording.dedup.truth import Truth

MILLION = "KEBPF_MILLION"  # of 1,000,000 exchanges instead of 20,000: how many


def make_arrival(
    number: int,
    path: str = "/a",
    *,
    rest: str = "rest",
    fields: Fields = (),
    status: int = 200,
    size: int = 10,
    duration: int = 0,
    needs: Iterable[int] = (),
    weight: int = 1,
) -> Arrival:
    traits = Traits("GET", path.split("/")[1:], rest.encode(), fields, frozenset, status, size, 0)
    return Arrival(f"case-{number}", number, traits, duration, needs, weight)


def run(arrivals: Iterable[Arrival], attic_size: int = ATTIC_SIZE) -> dict[str, tuple[int, str]]:
    """What is kept in the end: name → how often its shape came, and what that is called."""
    stream, dropped = Stream(attic_size), list[str]()
    names = []
    for arrival in arrivals:
        names.append(arrival.name)
        dropped += stream.take(arrival)
    dropped += stream.finish()
    kept = {name: (seen, shape) for name, seen, shape in stream.list_kept()}
    assert sorted([*dropped, *kept]) == sorted(names)  # each is told once
    return kept


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Lines that are shown when the test is over, in the long run at least."""
    lines: list[str] = []
    yield lines
    if MILLION in os.environ:
        with capsys.disabled():
            sys.stdout.write("".join(f"\n{line}" for line in lines))


def test_of_made_up_traffic_just_the_exemplars_stay(report: list[str]) -> None:
    number = int(os.environ.get(MILLION, "20000"))
    choice = random.Random(7)
    shapes = make_shapes(min(number // 50, 4000), choice)
    stream, ties, truth = Stream(), Ties(get_protocol), Truth()
    spent, memory = 0.0, [resident_mib()]
    for place, case, mocks in make_traffic(shapes, number, choice):
        truth.note(place, case)
        begun = time.process_time()
        calls = [Called.of_mock(mock) for mock in mocks]
        traits = find_traits(case, calls, get_protocol)
        needs = ties.find(case.order, case, calls, traits)
        duration = case.timing.end_ns - case.timing.start_ns
        stream.take(Arrival(case.name, case.order, traits, duration, needs))
        spent += time.process_time() - begun
        if case.order % (number // 10) == 0:
            memory.append(resident_mib())
    stream.finish()
    must_stay = truth.must_stay(MOST_FAILURES_OF_SHAPE, MOST_SLOW, SLOW_SHARE)
    failures = sum(min(len(one), MOST_FAILURES_OF_SHAPE) for one in truth.failures.values())
    told = " ".join(f"{one:.0f}" for one in memory)
    report.append(f"{number:,} → {len(shapes):,} shapes, {len(stream):,} kept")
    report.append(f"{spent / number * 1e6:.0f} µs each; MiB resident, the truth's too: {told}")
    if failures > MOST_FAILURES:
        must_stay = _limit_failures(truth, must_stay, stream)
    truth.check(stream.list_kept(), must_stay)
    assert stream.seen == number


def _limit_failures(truth: Truth, must_stay: set[str], stream: Stream) -> set[str]:
    """Which of so many failures stay depends on when their shapes became one; how many does not."""
    kept = {name for name, _, _ in stream.list_kept()}
    without = truth.must_stay(0, MOST_SLOW, SLOW_SHARE)
    assert without <= kept <= must_stay
    allowed = {name for one in truth.failures.values() for name in one[:MOST_FAILURES_OF_SHAPE]}
    assert len(kept & allowed) <= MOST_FAILURES + len(without & allowed)
    return kept


def test_the_first_the_newest_and_the_largest_stay() -> None:
    kept = run(make_arrival(n, size=500 if n == 4 else 10) for n in range(1, 10))
    assert set(kept) == {"case-1", "case-4", "case-9"}
    assert {seen for seen, _ in kept.values()} == {9}


def test_what_differs_in_the_rest_is_another_shape() -> None:
    kept = run(make_arrival(n, rest="even" if n % 2 == 0 else "odd") for n in range(1, 9))
    assert set(kept) == {"case-1", "case-7", "case-2", "case-8"}
    assert len({shape for _, shape in kept.values()}) == 2


def test_failures_stay_as_far_as_is_said() -> None:
    kept = run(make_arrival(n, status=503) for n in range(1, 101))
    assert set(kept) == {f"case-{n}" for n in [*range(1, MOST_FAILURES_OF_SHAPE + 1), 100]}


def test_failures_of_all_shapes_together_have_a_limit() -> None:
    total = 4 * MOST_FAILURES
    kept = run(make_arrival(n, rest=str(n % 200), status=500) for n in range(1, total + 1))
    assert MOST_FAILURES <= len(kept) <= MOST_FAILURES + 200 * 3


def test_the_slowest_hundredth_stays() -> None:
    durations = random.Random(3).sample(range(10**6), 1000)
    kept = run(make_arrival(n, duration=d) for n, d in enumerate(durations, 1))
    slowest = sorted(range(1, 1001), key=lambda n: -durations[n - 1])[:10]
    assert set(kept) == {"case-1", "case-1000", *(f"case-{n}" for n in slowest)}


def test_what_a_kept_case_rests_on_stays() -> None:
    arrivals = [make_arrival(n) for n in range(1, 60)]
    kept = run([*arrivals, make_arrival(60, needs=[55])], attic_size=10)
    assert set(kept) == {"case-1", "case-55", "case-60"}


def test_a_case_whose_maker_is_gone_takes_no_place_from_one_that_is_whole() -> None:
    arrivals = [make_arrival(n) for n in range(1, 300)]
    kept = run([*arrivals, make_arrival(300, size=99, needs=[150])], attic_size=10)
    assert "case-299" in kept and "case-300" not in kept


def test_the_only_case_of_its_shape_stays_even_if_its_maker_is_gone() -> None:
    arrivals = [make_arrival(n) for n in range(1, 300)]
    kept = run([*arrivals, make_arrival(300, rest="other", needs=[150])], attic_size=10)
    assert "case-300" in kept and "case-150" not in kept


def test_a_chain_of_cases_each_resting_on_the_last_does_not_stay_whole() -> None:
    kept = run(make_arrival(n, needs=[n - 1] if n > 1 else []) for n in range(1, 2000))
    assert len(kept) < 60


def test_segments_that_are_alike_become_one_route_and_their_shapes_one() -> None:
    kept = run(make_arrival(n, f"/files/{chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(300))
    assert len({shape for _, shape in kept.values()}) == 1
    assert {seen for seen, _ in kept.values()} == {300}


def test_a_few_words_stay_apart() -> None:
    words = ["open", "closed", "draft"]
    kept = run(make_arrival(n, f"/orders/{words[n % 3]}") for n in range(300))
    assert len({shape for _, shape in kept.values()}) == 3


def test_values_of_a_field_of_few_tell_apart_those_of_many_do_not() -> None:
    kept = run(
        make_arrival(n, fields=(("200/kind", "ab"[n % 2]), ("200/name", f"name {n}")))
        for n in range(300)
    )
    assert {seen for seen, _ in kept.values()} == {150}
    assert len({shape for _, shape in kept.values()}) == 2


def test_numbers_that_did_not_come_again_are_no_shapes_of_their_own() -> None:
    kept = run(make_arrival(n, fields=(("200/total", str(n * 37)),)) for n in range(1, 6))
    assert {seen for seen, _ in kept.values()} == {5}


def test_a_combination_of_many_fields_does_not_make_shapes_without_end() -> None:
    choice = random.Random(1)
    arrivals = (
        make_arrival(n, fields=tuple((f"200/{f}", choice.choice("abcdef")) for f in range(9)))
        for n in range(3000)
    )
    assert len({shape for _, shape in run(arrivals).values()}) <= 64


def test_beyond_the_most_shapes_requests_are_counted() -> None:
    stream = Stream(most_shapes=3)
    gone = [stream.take(make_arrival(n, rest=str(n))) for n in range(5)]
    assert gone == [[], [], [], ["case-3"], ["case-4"]]
    assert (stream.shapes, stream.beyond, stream.seen) == (3, 2, 5)


def test_a_case_may_stand_for_many() -> None:
    kept = run([make_arrival(1, weight=400), make_arrival(2, weight=0), make_arrival(3)])
    assert {seen for seen, _ in kept.values()} == {401}


KINDS_OF_ARRIVAL = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["/a", "/a/1", "/a/2", "/a/3", "/a/4", "/b/c", "/v1/x"]),
        "rest": st.sampled_from("xyz"),
        "fields": st.sampled_from("pqrstuvwxyz").map(lambda v: (("200/f", v), ("200/g", v * 2))),
        "status": st.sampled_from([200, 200, 404, 500]),
        "size": st.integers(0, 5),
        "duration": st.integers(0, 100),
        "back": st.lists(st.integers(1, 9), max_size=2),
    }
)


@settings(max_examples=60)
@given(st.lists(KINDS_OF_ARRIVAL, max_size=120), st.integers(0, 12))
def test_whatever_comes_what_stays_is_whole(kinds: list[dict[str, Any]], attic_size: int) -> None:
    stream, alive = Stream(attic_size), set[str]()
    needs_of: dict[str, list[str]] = {}
    depths: dict[str, int] = {}
    for number, kind in enumerate(kinds, 1):
        needs = [number - one for one in kind.pop("back") if one < number]
        arrival = make_arrival(number, needs=needs, **kind)
        names = [f"case-{one}" for one in set(needs)]
        depth = max((depths[name] + 1 for name in names if name in alive), default=0)
        is_rooted = alive.issuperset(names) and depth <= MOST_DEPTH
        needs_of[arrival.name] = names if is_rooted else []
        depths[arrival.name] = depth if is_rooted else 0
        alive.add(arrival.name)
        for name in stream.take(arrival):
            alive.remove(name)  # each goes once
        assert all(alive.issuperset(needs_of[name]) for name in alive)
        assert len(stream) == len(alive)
    alive.difference_update(stream.finish())
    kept = {name: (seen, shape) for name, seen, shape in stream.list_kept()}
    assert kept.keys() == alive
    assert all(alive.issuperset(needs_of[name]) for name in alive)
    assert sum({shape: seen for seen, shape in kept.values()}.values()) == len(kinds)
    assert len({shape for _, shape in kept.values()}) == stream.shapes


@pytest.mark.parametrize("attic_size", [0, 5, 1000])
def test_shapes_have_the_same_name_in_every_recording(attic_size: int) -> None:
    one = run((make_arrival(n, "/a/b") for n in range(9)), attic_size)
    other = run((make_arrival(n, "/a/b", size=n) for n in range(5)), attic_size)
    assert {shape for _, shape in one.values()} == {shape for _, shape in other.values()}
