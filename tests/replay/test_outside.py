"""Background work is told of what a case made once the case has made it, and once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.model import Mock, Tier
from kebpf.recording.times import UNHURRIED_NS
from kebpf.replay.call import make_call
from kebpf.replay.noise import Noise
from kebpf.replay.outside import find_words

from .builders import DATABASE, RECORDED_NS, REPLAYED_NS, SECOND, get_plain_spec, make_mock
from .matching import Run, rows

OLD = [str(uuid.UUID(int=number << 100 | 4 << 76 | 2 << 62)) for number in (3, 5)]
NEW = [str(uuid.UUID(int=number << 100 | 4 << 76 | 2 << 62)) for number in (7, 11)]
TIME = "%Y-%m-%dT%H:%M:%SZ"


def make_id(case: str, value: str) -> Mock:
    """A case's call with an id that it made."""
    return make_mock("INSERT", value, case=case, generated={"/args/0": "{uuid4}"})


def outside(sql: str, *args: Any, **changes: Any) -> Mock:
    return make_mock(sql, *args, **{"tier": Tier.BACKGROUND, **changes})


def queue(**changes: Any) -> Run:
    """Two cases that each queue a job; background work that takes them, or finds nothing."""
    return Run(
        make_id("a", OLD[0]),
        make_id("b", OLD[1]),
        outside("POP", answer=[OLD[0]], **changes),
        outside("POP", answer=[OLD[1]], **changes),
        outside("POP", answer=[]),
    )


def is_due(run: Run, request: Document) -> bool:
    call = make_call(DATABASE, get_plain_spec("plain"), request, run.matcher.bindings, Noise())
    return run.matcher.is_due(call)


def write_time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND, UTC).strftime(TIME)


POP: Document = {"sql": "POP"}


def test_a_job_is_handed_out_by_the_case_that_queued_it() -> None:
    """In another order than recorded; before that there is nothing to do."""
    run = queue()
    assert rows(run.call("POP")) == []
    run.begin("b")
    run.call("INSERT", NEW[1])
    assert rows(run.call("POP")) == [NEW[1]]
    assert rows(run.call("POP")) == []
    assert run.end() == []
    run.begin("a")
    run.call("INSERT", NEW[0])
    assert [rows(run.call("POP")) for _ in range(3)] == [[NEW[0]], [], []]
    assert run.end() == []


def test_one_recorded_at_the_start_too() -> None:
    """The worker asked before the first request came."""
    run = queue(tier=Tier.STARTUP)
    assert rows(run.call("POP")) == []
    run.begin("a")
    run.call("INSERT", NEW[0])
    assert rows(run.call("POP")) == [NEW[0]]
    assert run.end() == []


def test_who_waits_for_a_job_waits_until_there_is_one() -> None:
    run = Run(make_id("a", OLD[0]), outside("POP", answer=[OLD[0]]))
    assert not is_due(run, POP)
    run.begin("a")
    assert not is_due(run, POP)
    run.call("INSERT", NEW[0])
    assert is_due(run, POP)
    assert rows(run.call("POP")) == [NEW[0]]
    assert not is_due(run, POP)


def test_a_call_that_was_never_recorded_does_not_wait() -> None:
    run = queue()
    run.begin("a")
    assert is_due(run, {"sql": "POP", "args": ["another"]})


def test_what_no_case_made_is_handed_out_at_once() -> None:
    run = Run(make_id("a", OLD[0]), outside("POP", answer=[OLD[1]]))
    assert is_due(run, POP)
    assert rows(run.call("POP")) == [OLD[1]]


def test_an_answer_that_was_always_a_job_is_given_all_the_same() -> None:
    """Who does not wait has to get something."""
    run = Run(make_id("a", OLD[0]), outside("POP", answer=[OLD[0]]))
    assert rows(run.call("POP")) == [OLD[0]]


def test_a_repeated_call_is_answered_for_its_own_values() -> None:
    templates = {"/args/0": "{uuid4}"}
    run = Run(
        make_id("a", OLD[0]),
        make_id("b", OLD[1]),
        outside("TAKE", OLD[0], answer=[1], generated=templates),
        outside("TAKE", OLD[1], answer=[2], generated=templates),
    )
    for case, new in zip("ab", NEW, strict=True):
        run.begin(case)
        run.call("INSERT", new)
        run.end()
    answers = [rows(run.call("TAKE", new)) for new in (*NEW, *NEW)]
    assert answers == [[1], [2], [1], [2]]


def test_work_that_read_the_clock_before_the_case_began() -> None:
    """What it made is bound all the same: what comes next is found by it."""
    templates = {"/args/0": "{uuid4}"}
    run = Run(
        outside("END", OLD[0], answer=[1], generated=templates),
        outside("END", OLD[1], answer=[2], generated=templates),
        outside(
            "BEGIN",
            *(OLD[1], write_time(RECORDED_NS)),
            generated={**templates, "/args/1": f"{{time:{TIME}}}"},
        ),
    )
    run.begin("a")
    run.call("BEGIN", NEW[0], write_time(REPLAYED_NS - UNHURRIED_NS))
    assert rows(run.call("END", NEW[0])) == [2]
    assert run.end() == []


def test_one_of_many_jobs_is_found_in_any_order() -> None:
    """Texts of one form are told apart by what is bound, however many there are."""
    old = [str(uuid.uuid4()) for _ in range(200)]
    new = [str(uuid.uuid4()) for _ in range(200)]
    cases = tuple(f"case{number}" for number in range(200))
    template = {"/operation": "TAKE {uuid4}"}
    run = Run(
        *map(make_id, cases, old),
        *(outside(f"TAKE {one}", answer=[one], generated=template) for one in old),
        cases=cases,
    )
    for case, value in reversed(list(zip(cases, new, strict=True))):
        run.begin(case)
        run.call("INSERT", value)
        assert rows(run.call(f"TAKE {value}")) == [value]
        assert run.end() == []


def test_words_that_may_be_ids() -> None:
    answer = {"reply": [b"jobs", OLD[0].encode(), {"a": f"x {OLD[1]}, short"}, None, 12345678]}
    assert find_words(answer) == [*OLD, "12345678"]
    assert find_words(None) == []
