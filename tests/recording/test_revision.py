from __future__ import annotations

from kebpf.recording.loose import PERMUTATION
from kebpf.recording.model import Strength, Tier
from kebpf.recording.revision import Finding, Place, RevisedSet, describe_finding
from tests.recording.builders import make_case, make_mock
from tests.replay.sets import SetInMemory


def make_original() -> SetInMemory:
    cases = [make_case(f"case-{n}", order=n, strength=Strength(9, 1, 0)) for n in (1, 2)]
    mocks = [
        make_mock("m1", case="case-1", generated={"/old": "{uuid4}"}),
        make_mock("m2", case=None, tier=Tier.STARTUP),
    ]
    original = SetInMemory(cases, mocks)
    original.manifest.test_cases = 2
    return original


def find(place: Place, case: str | None, template: str = "{integer:1-2}") -> Finding:
    return Finding(place, case, None, template, 4, 3, ("1", "2"))


def test_a_class_for_a_value_of_a_response() -> None:
    original = make_original()
    revised = RevisedSet(original)
    finding = find(Place("case-1", "/body/n"), "case-1")
    revised.generalise(finding)
    case = revised.case("case-1")
    assert case.generated == {"/body/n": "{integer:1-2}"}
    assert case.strength == Strength(8, 2, 0)
    assert case.verified == [describe_finding(finding)]
    assert revised.template_at(finding.place) == "{integer:1-2}"
    assert original.cases()[0].generated == {}
    assert original.cases()[0].strength == Strength(9, 1, 0)


def test_a_wider_class_takes_the_place_of_the_first() -> None:
    revised = RevisedSet(make_original())
    place = Place("case-1", "/body/n")
    revised.generalise(find(place, "case-1"))
    revised.generalise(Finding(place, "case-1", "{integer:1-2}", "{integer:1-3}", 8, 6))
    assert revised.case("case-1").strength == Strength(8, 2, 0)
    assert [one["class"] for one in revised.case("case-1").verified] == ["{integer:1-3}"]
    assert [one.template for one in revised.findings] == ["{integer:1-3}"]


def test_the_order_of_an_array_is_no_value() -> None:
    revised = RevisedSet(make_original())
    revised.generalise(find(Place("case-1", "/body/all"), "case-1", PERMUTATION))
    assert revised.case("case-1").strength == Strength(9, 1, 0)


def test_a_class_for_an_argument_of_a_call() -> None:
    revised = RevisedSet(make_original())
    place = Place("m1", "/parameters/0", is_call=True)
    assert revised.case_of(place) == "case-1"
    revised.generalise(find(place, "case-1"))
    expected = {"/old": "{uuid4}", "/parameters/0": "{integer:1-2}"}
    found = {mock.name: mock.generated for _, mock in revised.iter_mocks()}
    assert found == {"m1": expected, "m2": {}}
    assert revised.mock_at(0).generated == expected
    assert revised.case("case-1").strength == Strength(8, 2, 0)
    outside = Place("m2", "/parameters/0", is_call=True)
    assert (revised.case_of(outside), revised.tier_of("m2")) == (None, Tier.STARTUP)


def test_a_case_set_apart_is_kept_and_counted() -> None:
    original = make_original()
    revised = RevisedSet(original)
    revised.set_apart("case-2", "it will not hold still")
    assert [case.name for case in revised.cases()] == ["case-1"]
    assert [case.set_apart for case in revised.apart()] == ["it will not hold still"]
    assert revised.manifest.set_apart == {"case-2": "it will not hold still"}
    assert (revised.manifest.test_cases, original.manifest.test_cases) == (1, 2)
