"""What a run is done with: the kernel's part, and the comparison with its settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kebpf.replay.comparison import compare
from kebpf.replay.noise import Noise, NoiseRule
from kebpf.replay.setrun import Environment
from kebpf.replay.stages import Comparing


def make_environment(rules: Sequence[NoiseRule]) -> Environment:
    """The environment of this host; ``rules`` say what is not to be compared."""
    from kebpf.kernel.cgroup import make_cgroup
    from kebpf.replay.steering import KernelSteering

    noise = Noise(rules)
    return Environment(KernelSteering, make_cgroup, make_comparing(noise), noise=noise)


def make_comparing(noise: Noise) -> Comparing:
    """The comparison, without what a person said not to compare."""
    return partial(compare, noise=noise)
