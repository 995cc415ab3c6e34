from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.loose import PERMUTATION
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.comparison import compare
from kebpf.replay.permutation import align
from tests.replay.sets import make_case

WINDOW = Window(0, 10**9)
ITEMS = st.lists(st.one_of(st.integers(), st.booleans(), st.text(max_size=3)), max_size=8)
IDS = [f"{n}f8c0c62-7c5f-4b0e-9d1c-6a2f3b4c5d6e" for n in range(6)]


def differences(old: Any, new: Any, **templates: str) -> list[tuple[str, str]]:
    paths = {f"/body{path.replace('_', '/')}": shape for path, shape in templates.items()}
    case = make_case("one", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
    case.generated = {"/body": PERMUTATION, **paths}
    expected, actual = ({"status": 200, "headers": [], "body": body} for body in (old, new))
    found, _ = compare(case, expected, actual, Bindings(), WINDOW)
    return [(mismatch.path, mismatch.kind) for mismatch in found]


@given(ITEMS, st.randoms(use_true_random=False))
def test_any_order_agrees(items: list[Any], draw: random.Random) -> None:
    assert differences(items, draw.sample(items, len(items))) == []


@given(ITEMS.filter(bool), st.integers(0, 7))
def test_a_multiset_is_compared_not_a_set(items: list[Any], place: int) -> None:
    """The oracle: one item more, or another in the place of one, is another multiset."""
    place %= len(items)
    assert differences(items, [*items, items[place]]) == [(f"/body/{len(items)}", "extra")]
    assert differences(items, items[:place] + items[place + 1 :]) != []
    other = [*items[:place], {"new": 1}, *items[place + 1 :]]
    assert differences(items, other) == [(f"/body/{place}", "changed")]


def test_items_with_generated_values_are_found_by_what_else_they_say() -> None:
    old = [{"id": IDS[n], "n": n} for n in range(3)]
    new = [{"id": IDS[5 - n], "n": n} for n in (2, 0, 1)]
    templates = {f"_{n}_id": "{uuid4}" for n in range(3)}
    assert differences(old, new, **templates) == []
    twice = [*new[:2], {"id": new[0]["id"], "n": 1}]
    assert differences(old, twice, **templates) == [("/body/2/id", "changed")]
    bindings = Bindings()
    paths = {f"/{n}/id": "{uuid4}" for n in range(3)}
    assert align(old, new, "", paths, bindings, WINDOW) == [(2, 0), (0, 1), (1, 2)]
    assert not bindings.is_bound(IDS[0])
