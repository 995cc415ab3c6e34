"""What a person said not to compare is left out, counted, and nothing else."""

from __future__ import annotations

from typing import Any

from kebpf.recording.model import Endpoint
from kebpf.replay.binding import Bindings
from kebpf.replay.events import CallFinding
from kebpf.replay.matcher import Matcher
from kebpf.replay.noise import Noise, NoiseRule

from .builders import (
    CACHE,
    DATABASE,
    REPLAYED_NS,
    SECOND,
    MemorySet,
    get_plain_spec,
    make_case,
    make_mock,
)

RULE = NoiseRule("/args/1", "the worker's process id", "UPDATE jobs*")


def play(noise: Noise, sql: str, *args: Any, **recorded: Any) -> list[CallFinding]:
    """What is found when a recorded UPDATE comes with other arguments."""
    mock = make_mock("UPDATE jobs SET owner = $2", 7, 4711, case="a", answer=[1], **recorded)
    case = make_case("a")
    matcher = Matcher(MemorySet([case], [mock]), Bindings(), get_plain_spec, noise=noise)
    matcher.begin_case(case, REPLAYED_NS)
    where: Endpoint = recorded.get("destination", DATABASE)
    matcher.for_destination(where, "plain").answer({"sql": sql, "args": list(args)})
    return matcher.end_case(REPLAYED_NS + SECOND)


SQL = "UPDATE jobs SET owner = $2"


def test_an_argument_is_not_compared_and_counted() -> None:
    noise = Noise([RULE])
    assert play(noise, SQL, 7, 99) == []
    assert [use.count for use in noise.uses()] == [1]
    assert [finding.kind for finding in play(Noise(), SQL, 7, 99)] == ["changed"]


def test_other_arguments_are_compared_still() -> None:
    (finding,) = play(Noise([RULE]), SQL, 8, 99)
    assert [field.path for field in finding.fields] == ["/args/0"]


def test_other_calls_and_places_are_compared_still() -> None:
    for rule in (
        NoiseRule("/args/1", "why", "UPDATE orders*"),
        NoiseRule("/args/1", "why", "*", str(CACHE)),
    ):
        noise = Noise([rule])
        assert [finding.kind for finding in play(noise, SQL, 7, 99)] == ["changed"]
        assert [use.count for use in noise.uses()] == [0]
    assert play(Noise([rule]), SQL, 7, 99, destination=CACHE) == []


def test_a_generated_argument_may_be_noise() -> None:
    generated = {"/args/1": "{uuid4}"}
    assert play(Noise([RULE]), SQL, 7, "whatever", generated=generated) == []


def test_the_operation_is_always_compared() -> None:
    noise = Noise([NoiseRule("/**", "all of it", "*")])
    assert play(noise, SQL, 8, 99, 5) == []
    assert "extra" in [finding.kind for finding in play(noise, "DELETE FROM jobs", 7)]
