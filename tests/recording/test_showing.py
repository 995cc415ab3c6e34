"""An answer's value that shows in one response says whose call it was, once the place proved so."""

from __future__ import annotations

from typing import Any, cast

from kebpf.protocols.base import ProtocolSpec
from kebpf.recording.activity import Inbound, Outbound, Viewer
from kebpf.recording.showing import PROOFS_NEEDED, Showing
from tests.recording.test_links import Plain, make_call, make_inbound


def make_showing() -> Showing:
    return Showing(Viewer(lambda name: cast(ProtocolSpec, Plain())))


def make_report(number: int, **more: Any) -> Inbound:
    return make_inbound("/reports", {"number": number, "size": 7, **more})


def make_count(number: int, *candidates: Inbound) -> Outbound:
    return make_call(*candidates, asks=["reports"], gets=[[number]])


def teach(showing: Showing, count: int = PROOFS_NEEDED) -> None:
    for number in range(100, 100 + count):
        reports = [make_report(number), make_report(number + 1), make_inbound("/other", {})]
        showing.learn(make_count(number, *reports), reports)


class TestShowing:
    def test_the_response_that_shows_the_answer(self) -> None:
        showing = make_showing()
        teach(showing)
        first, second, other = make_report(8), make_report(9), make_inbound("/other", {"n": 9})
        assert showing.find_owner(make_count(9, first, second, other)) is second
        assert showing.find_owner(make_count(8, first, second, other)) is first

    def test_places_prove_themselves_by_several_values(self) -> None:
        showing = make_showing()
        teach(showing, PROOFS_NEEDED - 1)
        assert showing.find_owner(make_count(9, make_report(8), make_report(9))) is None
        reports, equal = [make_report(7), make_report(8)], make_showing()
        for _ in range(9):
            equal.learn(make_count(7, *reports), reports)
        assert equal.find_owner(make_count(8, *reports)) is None

    def test_one_call_that_shows_nowhere_refutes(self) -> None:
        showing = make_showing()
        teach(showing)
        reports = [make_report(1), make_report(2)]
        showing.learn(make_count(3, *reports), reports)
        assert showing.find_owner(make_count(9, make_report(8), make_report(9))) is None

    def test_an_operation_that_another_route_makes_too(self) -> None:
        showing = make_showing()
        teach(showing)
        showing.refute(make_count(5), make_inbound("/other", {"n": 5}))
        assert showing.find_owner(make_count(9, make_report(8), make_report(9))) is None

    def test_a_route_that_was_not_there_cannot_have_made_it(self) -> None:
        showing = make_showing()
        teach(showing)
        showing.learn(make_count(5), [make_inbound("/other", {})])
        assert showing.find_owner(make_count(9, make_report(8), make_report(9))) is None

    def test_two_that_show_it_and_none(self) -> None:
        showing = make_showing()
        teach(showing)
        assert showing.find_owner(make_count(9, make_report(9), make_report(9))) is None
        assert showing.find_owner(make_count(9, make_report(8), make_report(7))) is None

    def test_a_request_of_which_nothing_is_known(self) -> None:
        showing = make_showing()
        teach(showing)
        unseen = Inbound(10, 90, 1, 100, None)
        assert showing.find_owner(make_count(9, make_report(8), make_report(9), unseen)) is None

    def test_two_routes_that_show_it(self) -> None:
        showing = make_showing()
        for number in range(PROOFS_NEEDED):
            both = [make_report(number), make_inbound("/copies", {"number": number})]
            showing.learn(make_count(number, *both), both)
        assert showing.find_owner(make_count(9, make_report(8), make_report(9))) is None
