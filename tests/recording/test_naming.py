"""Names are readable, safe for file systems and the same each time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document
from kebpf.recording.naming import NameGiver, name_request, name_route
from tests.recording.builders import make_request


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/", "root"),
        ("/orders/42?x=1", "orders-id"),
        ("/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301/cart", "users-id-cart"),
        ("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "u-id"),
        ("/blobs/deadbeef01", "blobs-id"),
        ("/a%2Fb/../ü", "a-2fb"),
        ("http://host:80/Path/X", "path-x"),
        ("/recommendations-for-everyone", "recommendations-for-everyone"),
        ("*", "root"),
        ("/" + "long/" * 30, ("long-" * 12).rstrip("-")),
    ],
)
def test_routes_are_readable(target: str, route: str) -> None:
    assert name_route(target) == route


@given(st.text() | st.binary(), st.binary(), st.text())
def test_names_are_safe_and_stable(target: str | bytes, body: bytes, method: str) -> None:
    request: Document = {"method": method, "target": target, "headers": [], "body": body}
    name = name_request(request)
    assert re.fullmatch(r"[a-z0-9_.-]+", name)
    assert not name.startswith((".", "-"))
    assert name == name_request(dict(request))


def test_method_target_and_body_make_the_hash() -> None:
    names = {
        name_request(make_request("/a")),
        name_request(make_request("/a?b=1")),
        name_request(make_request("/a", b"1")),
        name_request(make_request("/a", method="POST")),
    }
    assert len(names) == 4


def test_headers_do_not_change_the_name() -> None:
    other = make_request("/a") | {"headers": [["Date", "now"]]}
    assert name_request(make_request("/a")) == name_request(other)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 3))
def test_repeats_are_numbered_whatever_the_cap(bases: list[str], cap: int) -> None:
    given_names: list[str] = []
    giver = NameGiver(lambda name: name in given_names, cap)
    for base in bases:
        given_names.append(giver.give(base))
    seen: dict[str, int] = {}
    for base, name in zip(bases, given_names, strict=True):
        seen[base] = seen.get(base, 0) + 1
        assert name == (base if seen[base] == 1 else f"{base}-{seen[base]}")
