"""Much traffic on disk: what is kept is whole, and the files stay small meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kebpf.protocols.registry import get_protocol
from kebpf.recording.casefile import write_case
from kebpf.recording.dedup.stream import MOST_FAILURES_OF_SHAPE, MOST_SLOW, SLOW_SHARE, Stream
from kebpf.recording.dedup.unique import UniqueCases
from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Endpoint, Mock, Tier
from kebpf.recording.recovery import recover_all
from kebpf.recording.store import TestSet, TestSetWriter
from tests.recording.builders import make_case, make_manifest, make_mock
from tests.recording.dedup.exchanges import make_shapes, make_traffic
from tests.recording.dedup.truth import Truth


def open_unique(folder: Path, attic_size: int = 50) -> tuple[TestSetWriter, UniqueCases]:
    writer = TestSetWriter(folder)
    return writer, UniqueCases(writer, get_protocol, 64 << 10, Stream(attic_size))


def finish(folder: Path, writer: TestSetWriter, unique: UniqueCases) -> TestSet:
    manifest = make_manifest()
    manifest.extra = {"unique": unique.finish()}
    writer.commit(manifest)
    return TestSet.open(folder)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_cases_and_mocks_that_go_are_off_the_disk(tmp_path: Path) -> None:
    choice, truth, largest, written = random.Random(2), Truth(), 0, 0
    writer, unique = open_unique(tmp_path / "set")
    mocks_of: dict[str, list[Mock]] = {}
    for place, case, mocks in make_traffic(make_shapes(8, choice), 1000, choice):
        truth.note(place, case)
        mocks_of[case.name] = mocks
        for mock in mocks:
            unique.add_mock(mock)
            written += len(pack_mock(mock))
        text = write_case(case)
        unique.add_case(case, text)
        written += len(text)
        if case.order % 100 == 0:
            [unfinished] = writer.unfinished
            largest = max(largest, size_of(unfinished))
            assert unique.test_cases == len(list(unfinished.glob("tests/*")))
    test_set = finish(tmp_path / "set", writer, unique)
    must_stay = truth.must_stay(MOST_FAILURES_OF_SHAPE, MOST_SLOW, SLOW_SHARE)
    cases = test_set.cases()
    truth.check(((case.name, case.seen, case.shape) for case in cases), must_stay)
    expected = {mock.name for name in must_stay for mock in mocks_of[name]}
    assert {mock.name for _, mock in test_set.iter_mocks()} == expected
    test_set.check_calls()
    assert test_set.manifest.extra["unique"] == {"requests": 1000, "shapes": 8}
    assert largest < written / 3


@pytest.mark.parametrize("number", [90, 390, 400])
def test_cut_off_at_any_time_no_shape_is_missing(tmp_path: Path, number: int) -> None:
    choice, places = random.Random(2), dict[str, int]()
    writer = TestSetWriter(tmp_path / "set", durable=True)
    unique = UniqueCases(writer, get_protocol, 16 << 10, Stream(50))
    writer.mark(make_manifest())
    for place, case, mocks in make_traffic(make_shapes(8, choice), number, choice):
        places[case.name] = place
        for mock in mocks:
            unique.add_mock(mock)
        unique.add_case(case, write_case(case))
    writer.leave()
    (recovered,) = recover_all(tmp_path).recovered
    test_set = TestSet.open(recovered.folder)
    assert {places[case.name] for case in test_set.cases()} == set(places.values())
    test_set.check_calls()
    owners = {mock.case for _, mock in test_set.iter_mocks()}
    assert owners <= {case.name for case in test_set.cases()}


def add(unique: UniqueCases, order: int, *mocks: Mock, target: str = "/") -> None:
    for mock in mocks:
        unique.add_mock(mock)
    calls = [mock.name for mock in mocks if mock.case == f"case-{order}"]
    case = make_case(f"case-{order}", order=order, calls=calls)
    case.request |= {"target": target, "trailers": []}
    case.response["trailers"] = []
    unique.add_case(case, write_case(case))


def test_a_call_that_may_be_that_of_a_case_that_went_is_asserted_of_nobody(tmp_path: Path) -> None:
    writer, unique = open_unique(tmp_path / "set", attic_size=0)
    shared = make_mock("shared", case=None, candidates=["case-1", "case-50"])
    lost = make_mock("lost", case=None, candidates=["case-50", "case-51"])
    both = make_mock("both", case=None, candidates=["case-1", "case-200"])
    unique.add_mock(both)
    for order in range(1, 201):
        add(unique, order, *{1: (shared,), 50: (lost,)}.get(order, ()))
    mocks = {mock.name: mock for _, mock in finish(tmp_path / "set", writer, unique).iter_mocks()}
    assert (mocks["shared"].tier, mocks["shared"].candidates) == (Tier.BACKGROUND, ["case-1"])
    assert (mocks["both"].tier, mocks["both"].candidates) == (Tier.CASE, ["case-1", "case-200"])
    assert "lost" not in mocks


def test_calls_of_no_case_do_not_grow_without_end(tmp_path: Path) -> None:
    writer, unique = open_unique(tmp_path / "set")
    for number in range(1000):
        for tier in (Tier.STARTUP, Tier.BACKGROUND, Tier.SESSION):
            unique.add_mock(make_mock(f"{tier.value}-{number}", tier=tier, case=None))
    add(unique, 1)
    tiers = [mock.tier for _, mock in finish(tmp_path / "set", writer, unique).iter_mocks()]
    counts = {tier: tiers.count(tier) for tier in Tier}
    assert counts == {Tier.STARTUP: 64, Tier.BACKGROUND: 16, Tier.SESSION: 1, Tier.CASE: 0}


def test_what_opened_a_connection_stays_when_its_case_goes(tmp_path: Path) -> None:
    writer, unique = open_unique(tmp_path / "set", attic_size=0)
    place = Endpoint("tcp", "10.0.0.9", 5432)
    for order in range(1, 300):
        opening = make_mock(
            f"open-{order}", tier=Tier.SESSION, case=f"case-{order}", destination=place
        )
        add(unique, order, *([opening] if order in (150, 299) else []))
    mocks = {mock.name: mock for _, mock in finish(tmp_path / "set", writer, unique).iter_mocks()}
    assert (mocks["open-150"].case, mocks["open-299"].case) == (None, "case-299")


def test_a_name_that_is_free_again_brings_no_old_mocks_back(tmp_path: Path) -> None:
    writer, unique = open_unique(tmp_path / "set", attic_size=0)
    for order in range(1, 300):
        mock = make_mock(f"mock-{order}", case=f"case-{order}")
        add(unique, order, mock)
    test_set = finish(tmp_path / "set", writer, unique)
    assert unique.holds("case-1") and not unique.holds("case-150")
    owners = {mock.case for _, mock in test_set.iter_mocks()}
    assert owners == {case.name for case in test_set.cases()}
