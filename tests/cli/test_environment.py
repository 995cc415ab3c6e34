"""What a run is handed: a comparison that knows what a person said not to compare."""

from __future__ import annotations

from kebpf.cli.environment import make_comparing
from kebpf.recording.model import Endpoint, TestCase, Timing
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.noise import Noise, NoiseRule

RECORDED = {"status": 200, "headers": [], "body_kind": "json", "body": {"a": 1, "at": 2}}
CAME = {**RECORDED, "body": {"a": 1, "at": 3}}
CASE = TestCase("a", "http1", {}, {}, Endpoint("tcp", "127.0.0.1", 80), Timing(1, 2), 1)


def test_noise_is_not_compared_and_counted() -> None:
    window = Window(1, 2)
    mismatches, strength = make_comparing(Noise())(CASE, RECORDED, CAME, Bindings(), window)
    assert [mismatch.path for mismatch in mismatches] == ["/body/at"]
    assert strength.not_compared == 0
    noise = Noise([NoiseRule("/body/at", "a clock"), NoiseRule("/body/by")])
    mismatches, strength = make_comparing(noise)(CASE, RECORDED, CAME, Bindings(), window)
    assert list(mismatches) == []
    assert strength.not_compared == 1
    assert [use.count for use in noise.uses()] == [1, 0]
