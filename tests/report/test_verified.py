"""The whole text of a verification, and its object."""

from __future__ import annotations

import json

from kebpf.recording.model import Strength
from kebpf.recording.revision import Finding, Place
from kebpf.replay.verifier import CaseSetApart, RunDone, Verified, VerifyEvent
from kebpf.report.lines import join_text
from kebpf.report.verified import is_good, show_event, to_json_line, verification_object

FINDING = Finding(
    Place("get-lot-1a2b", "/body/lot"),
    "get-lot-1a2b",
    None,
    "{integer:1-3}",
    4,
    3,
    ("17", "3", "42"),
)
CALL = Finding(
    Place("mock-000007", "/parameters/0", is_call=True), None, "{hex:8}", "{text:alnum:8}", 9, 6
)
END = Verified(
    13,
    9,
    3,
    Strength(1530, 41, 2),
    [FINDING, CALL],
    {"get-weather-77aa": "the status was 200 and is 503"},
    ["get-count-0c0c"],
    ["a recorded call is not made every time: SET started 1"],
)
RUNS = [RunDone(1, 1, None, 12, 2, 3.94), RunDone(2, 1, 1996382487, 14, 0, 12.0)]


def show(*events: VerifyEvent) -> str:
    return "\n".join(join_text(show_event(event)) for event in events)


def test_the_text_of_a_verification() -> None:
    reason = "a recorded call is not made every time: SELECT id, name, price FROM products"
    assert show(*RUNS, FINDING, CALL, CaseSetApart("get-all-0f0f", reason), END) == (
        "run 1   recorded order             12 passed, 2 failed  3.9 s\n"
        "run 2   shuffled, seed 1996382487  14 passed, 0 failed  12.0 s\n"
        "generalised get-lot-1a2b\n"
        "  /body/lot\n"
        "  exact → {integer:1-3}\n"
        "  4 values seen, 3 runs differed: 17, 3, 42\n"
        "generalised a call of no one case\n"
        "  mock-000007 /parameters/0\n"
        "  {hex:8} → {text:alnum:8}\n"
        "  9 values seen, 6 runs differed: \n"
        "set apart get-all-0f0f\n"
        "  a recorded call is not made every time: SELECT id, name, price FROM products\n"
        "\n"
        "get-count-0c0c passes in the recorded order only: it depends on cases before it\n"
        "of no one case: a recorded call is not made every time: SET started 1\n"
        "13 cases passed after 9 runs · 2 generalised · 1 set apart\n"
        "1,530 values exact, 41 by class, 2 not compared"
    ).replace("differed: \n", "differed:\n")


def test_no_line_is_wider_than_a_terminal() -> None:
    place = Place("x" * 60, "/" + "y" * 90, is_call=True)
    wide = Finding(place, "z" * 99, None, "{text:ascii:1-40} " * 9, 4, 3, ("é\x1b[1m" * 20,) * 3)
    text = show(wide, CaseSetApart("c" * 99, "r " * 300), RUNS[1], END)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_the_object_of_a_verification() -> None:
    found = json.loads(to_json_line(verification_object("set", RUNS, END)))
    assert found["test_set"] == "set"
    assert found["runs"][0] == {
        "run": 1, "round": 1, "seed": None, "passed": 12, "failed": 2, "seconds": 3.94,
    }  # fmt: skip
    assert found["generalised"][0] == {
        "case": "get-lot-1a2b",
        "in": "response",
        "path": "/body/lot",
        "was": "exact",
        "class": "{integer:1-3}",
        "values_seen": 4,
        "runs": 3,
        "examples": ["17", "3", "42"],
    }
    assert found["set_apart"] == END.set_apart
    assert (found["order_dependent"], found["passed"]) == (["get-count-0c0c"], 13)
    assert found["strength"] == {"exact": 1530, "by_class": 41, "not_compared": 2}


def test_only_a_whole_set_is_good() -> None:
    assert not is_good(END)
    assert not is_good(Verified(1, 3, 1, Strength(), unresolved=["x"]))
    assert is_good(Verified(1, 3, 1, Strength(), order_dependent=["x"]))
