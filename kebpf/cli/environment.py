"""What a run is done with: the kernel's part, and the comparison with its settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kebpf.replay.comparison import compare
from kebpf.replay.setrun import Environment
from kebpf.replay.stages import Comparing


def make_environment(noise: Sequence[str]) -> Environment:
    """The environment of this host; ``noise`` are paths into responses not to compare."""
    from kebpf.kernel.cgroup import make_cgroup
    from kebpf.replay.steering import KernelSteering

    return Environment(KernelSteering, make_cgroup, make_comparing(noise))


def make_comparing(noise: Sequence[str]) -> Comparing:
    """The comparison, without what a person said not to compare."""
    return partial(compare, noise=noise)
