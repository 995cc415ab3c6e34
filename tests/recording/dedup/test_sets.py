"""A set that was recorded before keeps what is unique of it, whole or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kebpf.protocols.registry import get_protocol
from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut, Rules
from kebpf.recording.dedup.sets import Sifted, sift_set
from kebpf.recording.dedup.stream import MOST_FAILURES_OF_SHAPE, MOST_SLOW, SLOW_SHARE
from kebpf.recording.errors import TestSetError
from kebpf.recording.store import TestSet, TestSetWriter
from tests.recording.builders import make_manifest, make_mock
from tests.recording.dedup.exchanges import make_shapes, make_traffic
from tests.recording.dedup.truth import Truth

NOTHING = Rules([])


def write_traffic(folder: Path, number: int = 200, shapes: int = 4) -> Truth:
    choice, truth = random.Random(4), Truth()
    writer = TestSetWriter(folder)
    for place, case, mocks in make_traffic(make_shapes(shapes, choice), number, choice):
        truth.note(place, case)
        for mock in mocks:
            writer.add_mock(mock)
        writer.add_case(case)
    writer.commit(make_manifest())
    return truth


def sift(folder: Path, rules: Rules = NOTHING, into: Path | None = None) -> Sifted:
    return sift_set(TestSet.open(folder), rules, get_protocol, into=into)


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_exemplars_stay_with_their_mocks(tmp_path: Path) -> None:
    truth = write_traffic(tmp_path / "set")
    result = sift(tmp_path / "set")
    test_set = TestSet.open(tmp_path / "set")
    must_stay = truth.must_stay(MOST_FAILURES_OF_SHAPE, MOST_SLOW, SLOW_SHARE)
    cases = test_set.cases()
    truth.check(((case.name, case.seen, case.shape) for case in cases), must_stay)
    calls = {name for case in cases for name in case.calls}
    assert {mock.name for _, mock in test_set.iter_mocks()} == calls
    test_set.check_calls()
    assert (result.requests, result.shapes, result.test_cases) == (200, 4, len(cases))
    assert (result.dropped, result.mocks) == (200 - len(cases), test_set.manifest.mocks)
    assert test_set.manifest.extra["unique"] == {"requests": 200, "shapes": 4}


def test_once_more_changes_nothing(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set")
    first = sift(tmp_path / "set")
    before = read_all(tmp_path / "set")
    again = sift(tmp_path / "set")
    assert (again.requests, again.shapes, again.dropped) == (first.requests, first.shapes, 0)
    assert read_all(tmp_path / "set") == before


def test_the_set_itself_stays_where_another_is_written(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set")
    before = read_all(tmp_path / "set")
    result = sift(tmp_path / "set", into=tmp_path / "new")
    assert read_all(tmp_path / "set") == before
    assert len(TestSet.open(tmp_path / "new").cases()) == result.test_cases < 200


def test_a_trial_writes_nothing(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set")
    before = read_all(tmp_path / "set")
    result = sift_set(TestSet.open(tmp_path / "set"), NOTHING, get_protocol, is_trial=True)
    assert result.dropped
    assert read_all(tmp_path / "set") == before


def test_nothing_is_written_over(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set", 30)
    (tmp_path / "new").mkdir()
    with pytest.raises(TestSetError, match="already exists"):
        sift(tmp_path / "set", into=tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_damaged_set_stays_as_it_is(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set", 30)
    case = next((tmp_path / "set" / "tests").iterdir())
    case.write_text(case.read_text().replace("protocol: http", "protocol: [", 1))
    before = read_all(tmp_path / "set")
    with pytest.raises(TestSetError, match=case.name):
        sift(tmp_path / "set")
    assert read_all(tmp_path / "set") == before


def test_what_rules_leave_out_goes_and_is_counted(tmp_path: Path) -> None:
    truth = write_traffic(tmp_path / "set", 60)
    result = sift(tmp_path / "set", Rules([LeaveOut(method="GET"), *DEFAULTS]))
    cases = TestSet.open(tmp_path / "set").cases()
    assert cases and "GET" not in {case.request["method"] for case in cases}
    (number,) = result.left_out.values()
    assert number + result.requests == len(truth.durations)
    assert TestSet.open(tmp_path / "set").manifest.losses.left_out == {"leave_out: GET": number}


def test_cases_that_were_set_apart_stay(tmp_path: Path) -> None:
    write_traffic(tmp_path / "set", 60)
    folder = tmp_path / "set"
    case = TestSet.open(folder).cases()[30]
    (folder / "set-apart").mkdir()
    (folder / "tests" / f"{case.name}.yaml").rename(folder / "set-apart" / f"{case.name}.yaml")
    manifest = folder / "test-set.yaml"
    text = manifest.read_text().replace("test_cases: 60", "test_cases: 59")
    manifest.write_text(text + f"set_apart:\n  {case.name}: it fails\n")
    sift(folder)
    test_set = TestSet.open(folder)
    assert [one.name for one in test_set.apart()] == [case.name]
    assert set(case.calls) <= {mock.name for _, mock in test_set.iter_mocks()}


def test_what_belongs_to_no_case_stays(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set")
    for _, case, mocks in make_traffic(make_shapes(1, random.Random(1)), 90, random.Random(1)):
        for mock in mocks:
            writer.add_mock(mock)
        writer.add_case(case)
    writer.add_mock(make_mock("mine", tier=mocks[0].tier.STARTUP, case=None))
    writer.commit(make_manifest())
    sift(tmp_path / "set")
    assert "mine" in {mock.name for _, mock in TestSet.open(tmp_path / "set").iter_mocks()}
