"""Which segments of a path are values is learned from what is seen."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.dedup.routes import FEW, MANY, Routes, looks_like_id, split_path


def templates(routes: Routes) -> set[str]:
    return {name for name, group in routes.groups() if group.list_all()}


def see(routes: Routes, path: str, *, rest: str = "", values: Sequence[str] = ()) -> None:
    group = routes.find("GET", split_path(path), rest.encode(), lambda: values)
    while routes.changed:
        routes.changed.pop().regroup()
    shape = group.find(rest.encode(), ()) or group.add(rest.encode(), ())
    shape.seen += 1


def test_an_id_that_stands_elsewhere_too_is_a_value_at_once() -> None:
    routes = Routes()
    see(routes, "/orders/17", values=["17"])
    see(routes, "/orders/18")
    assert templates(routes) == {"GET /orders/{}"}


def test_what_was_seen_before_that_is_sorted_in() -> None:
    routes = Routes()
    see(routes, "/orders/16/lines")
    see(routes, "/orders/17/lines", values=["17"])
    assert templates(routes) == {"GET /orders/{}/lines"}


def test_ids_without_proof_are_values_when_there_are_a_few() -> None:
    routes = Routes()
    for number in range(FEW):
        see(routes, f"/orders/{number}")
    assert len(templates(routes)) == FEW
    see(routes, "/orders/99")
    assert templates(routes) == {"GET /orders/{}"}


def test_words_are_values_when_there_are_many_of_a_kind() -> None:
    routes = Routes()
    for number in range(MANY):
        see(routes, f"/tags/{'abcdefghijklmnopqrstuvwxyz'[number]}")
    assert len(templates(routes)) == MANY
    see(routes, "/tags/zz")
    assert templates(routes) == {"GET /tags/{}"}


def test_resources_that_are_not_alike_stay_however_many() -> None:
    routes = Routes()
    for number in range(100):
        see(routes, f"/{'abcdefghij'[number // 10]}{'abcdefghij'[number % 10]}", rest=str(number))
    assert len(templates(routes)) == 100


def test_a_word_beside_ids_stays() -> None:
    routes = Routes()
    for path, values in (("/users/me", []), ("/users/17", ["17"]), ("/users/me", ["me"])):
        see(routes, path, values=values)
    assert templates(routes) == {"GET /users/me", "GET /users/{}"}


def test_versions_are_no_ids() -> None:
    routes = Routes()
    for number in range(9):
        see(routes, f"/v{number}/orders", values=[f"v{number}"])
    assert len(templates(routes)) == 9


def test_the_length_of_a_segment_says_nothing() -> None:
    assert not looks_like_id("a" * 40)
    assert looks_like_id("7")


def test_values_at_several_places_of_a_path() -> None:
    routes = Routes()
    choice = random.Random(1)
    for _ in range(300):
        tenant, user = (choice.choices("abcdefghij", k=5) for _ in range(2))
        see(routes, f"/t/{''.join(tenant)}/u/{''.join(user)}")
    assert templates(routes) == {"GET /t/{}/u/{}"}


@given(st.permutations([f"/a/{n}/b/{m}" for n in range(5) for m in range(5)]))
def test_the_order_does_not_matter_in_the_end(paths: list[str]) -> None:
    routes = Routes()
    for path in paths:
        see(routes, path)
    assert templates(routes) == {"GET /a/{}/b/{}"}


def test_memory_has_a_limit_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kebpf.recording.dedup.routes.MOST_NODES", 300)
    routes = Routes()
    for number in range(1000):
        word = "".join("abcdefghij"[int(digit)] for digit in str(number))
        see(routes, f"/{word[-1]}/{word}/x", rest=str(number))
    assert len(templates(routes)) <= 300


def test_a_path_is_split_without_its_query_and_host() -> None:
    assert split_path("http://shop:80/a//b/?c=/d") == ["a", "b"]
    assert split_path("*") == ["*"]
