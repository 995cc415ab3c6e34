"""The recorded version itself, replayed: an application whose every run differs as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kebpf.recording.model import TestCase
from kebpf.replay.setrun import Environment
from kebpf.replay.verifier import (
    CaseSetApart,
    RunDone,
    Verified,
    Verifier,
    VerifyError,
    VerifyEvent,
)
from tests.replay.sets import PROTOCOLS, SetInMemory
from tests.replay.test_runner import Stand, T

APPLICATION = """
import http.client, http.server, json, os, pathlib, socket, sys
folder, mode, port = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run = len(list(folder.glob("run-*"))) + 1
(folder / f"run-{run}").touch()
served = []

def call(path):
    there = http.client.HTTPConnection("127.0.0.1", int((folder / "responder").read_text()))
    there.request("GET", path, headers={"Host": "rates"})
    answer = there.getresponse()
    body = answer.read().decode()
    there.close()
    return str(answer.status) if answer.status != 200 else body

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        name = self.path[1:]
        served.append(name)
        is_b = name == "b"
        if is_b and mode == "crash":
            os._exit(9)
        path = "/rates/" + name
        if is_b and mode == "calls":
            path = f"/rates/{100 + run}"
        if is_b and mode == "nocall":
            path = "/rates/a"
        rate = call(path)
        if is_b and mode == "drift":
            rate = f"{run + 1}.5"
        if is_b and mode == "shape":
            rate = [rate] * run
        if name == "c" and mode == "ordered" and served != ["a", "b", "c"]:
            rate = "first come, first served"
        body = json.dumps({"name": name, "rate": rate}).encode()
        self.send_response_only(500 if mode == "broken" or is_b and mode == "status" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

if mode == "exit":
    sys.exit("no configuration")
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
    told.connect(str(folder / "notify"))
    told.send(b"%d %d" % (os.getpid(), server.server_address[1]))
server.serve_forever()
"""


class Proof:
    """A stand with that application, and a verification of it."""

    def __init__(self, folder: Path) -> None:
        self.stand = Stand(folder)
        (folder / "app.py").write_text(APPLICATION)
        self.events: list[VerifyEvent] = []

    def start(self, mode: str, recorded: SetInMemory | None = None, runs: int = 3) -> Verifier:
        environment = Environment(
            self.stand.make_steering, self.stand.make_group, protocols=lambda: PROTOCOLS
        )
        options = self.stand.make_options(mode, calls_wait_s=0.05)
        seeds = iter(range(5, 500))
        recorded = recorded or self.stand.make_set("a", "b", "c")
        return Verifier("set", recorded, options, environment, runs, lambda: next(seeds))

    def run(self, mode: str, recorded: SetInMemory | None = None, runs: int = 3) -> Verifier:
        verifier = self.start(mode, recorded, runs)
        self.events = list(verifier.events())
        return verifier

    def pick(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def end(self) -> Verified:
        [end] = self.pick(Verified)
        assert self.events[-1] is end
        return end


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[Proof]:
    yield Proof(tmp_path)


def make_counting_set(stand: Stand) -> SetInMemory:
    """As recorded, but b asked for rate 70."""
    cases = [stand.make_case(name, order) for order, name in enumerate("abc", 1)]
    mocks = [stand.make_mock(name) for name in "ac"]
    mocks.insert(1, replace(stand.make_mock("70", case="b"), name="rate-b"))
    return SetInMemory(cases, mocks, [stand.port])


def case_of(verifier: Verifier, name: str) -> TestCase:
    [case] = [case for case in verifier.revised.cases() if case.name == name]
    return case


def test_what_passes_each_time_stays_as_it_is(proof: Proof) -> None:
    verifier = proof.run("same")
    assert [run.seed for run in proof.pick(RunDone)] == [None, 5, 6]
    assert [(run.passed, run.failed) for run in proof.pick(RunDone)] == [(3, 0)] * 3
    assert (proof.end.passed, proof.end.generalised, proof.end.set_apart) == (3, [], {})
    assert verifier.revised.changed == set()


def test_a_value_that_differs_gets_a_class_and_passes_then(proof: Proof) -> None:
    before = proof.stand.make_case("b", 2).strength
    verifier = proof.run("drift")
    [found] = proof.end.generalised
    assert (found.case, found.place.path, found.before) == ("b", "/body/rate", None)
    assert found.template == "{decimal:1-2}"
    assert (found.values, found.runs) == (4, 3)
    assert [run.failed for run in proof.pick(RunDone)] == [1, 1, 1, 0, 0, 0]
    case = case_of(verifier, "b")
    assert case.generated == {"/body/rate": "{decimal:1-2}"}
    assert (case.strength.exact, case.strength.by_class) == (before.exact - 1, 1)
    [entry] = case.verified
    assert (entry["path"], entry["class"], entry["values_seen"]) == (
        "/body/rate",
        found.template,
        4,
    )


def test_an_argument_that_differs_gets_a_class_and_the_response_is_let_be(proof: Proof) -> None:
    verifier = proof.run("calls", make_counting_set(proof.stand))
    assert {one.place.path for one in proof.end.generalised} == {"/operation", "/path"}
    assert all(one.place.owner == "rate-b" and one.case == "b" for one in proof.end.generalised)
    assert verifier.revised.mocks["rate-b"]["/path"] == "/rates/{integer:1-4}"
    assert case_of(verifier, "b").generated == {}
    assert (proof.end.passed, proof.end.set_apart) == (3, {})


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("status", "the status was 200 and is 500"),
        ("crash", "the application exited with status 9"),
        ("nocall", "a call differs each time, in /operation, more than a class can say: GET "),
        ("shape", "/body/rate is of no one class, or is not the value it was before"),
    ],
)
def test_what_no_class_mends_is_set_apart_with_its_reason(
    proof: Proof, mode: str, reason: str
) -> None:
    verifier = proof.run(mode)
    [apart] = proof.pick(CaseSetApart)
    assert apart.case == "b"
    assert apart.reason.startswith(reason)
    assert proof.end.set_apart == {"b": apart.reason}
    assert [case.name for case in verifier.revised.cases()] == ["a", "c"]
    assert verifier.revised.manifest.set_apart == {"b": apart.reason}
    assert (proof.end.passed, proof.pick(RunDone)[-1].failed) == (2, 0)


def test_a_case_that_needs_those_before_it_is_kept_exact_and_named(proof: Proof) -> None:
    """Seeds 5 and 6 bring c elsewhere than behind a and b."""
    verifier = proof.run("ordered")
    assert proof.end.order_dependent == ["c"]
    assert (proof.end.generalised, proof.end.set_apart, proof.end.passed) == ([], {}, 3)
    assert case_of(verifier, "c").generated == {}
    in_order = [run for run in proof.pick(RunDone) if run.seed is None]
    assert len(in_order) >= 5


def test_another_program_is_not_taken_for_the_recorded_one(proof: Proof) -> None:
    verifier = proof.start("broken")
    with pytest.raises(VerifyError, match="no case passed"):
        list(verifier.events())


def test_an_application_that_does_not_start_proves_nothing(proof: Proof) -> None:
    with pytest.raises(VerifyError, match="exited with status 1") as raised:
        list(proof.start("exit").events())
    assert raised.value.output == ["no configuration"]


def test_calls_of_a_case_set_apart_still_answer_and_nobody_owes_them(proof: Proof) -> None:
    """``nocall`` makes b ask what a asked, and here a is set apart already."""
    recorded = proof.stand.make_set("a", "b", "c")
    cases = [replace(recorded.cases()[0], set_apart="as a person wished"), *recorded.cases()[1:]]
    mocks = [mock for _, mock in recorded.iter_mocks()]
    mocks[1] = replace(mocks[1], case="a")
    verifier = proof.run("nocall", SetInMemory(cases, mocks, [proof.stand.port]))
    assert [(run.passed, run.failed) for run in proof.pick(RunDone)] == [(2, 0)] * 3
    assert verifier.revised.manifest.set_apart == {"a": "as a person wished"}
