"""What a run is done with: the kernel's part, and the comparison with its settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import typer

from kebpf.cli.errors import KebpfError
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


NOT_INTERCEPTED = (
    "this kernel has no nf_tables with tproxy and socket: recorded destinations are answered, "
    "attempts to reach others are refused and reported by address only"
)


@contextmanager
def isolated_environment(rules: Sequence[NoiseRule]) -> Iterator[Environment]:
    """That of this host in a network of its own, into which this process moves for good.

    Raises `KernelError`.
    """
    from kebpf.kernel.namespaces import isolate

    isolate()
    yield make_environment(rules)


@contextmanager
def unprivileged_environment(rules: Sequence[NoiseRule]) -> Iterator[Environment]:
    """The environment of a network of the run's own, into which this process moves for good.

    What the application left running is ended with the context.  Raises `KernelError`.
    """
    from kebpf.kernel.rootless import entered
    from kebpf.replay.transparent import TransparentSteering

    noise = Noise(rules)
    with entered() as network:
        yield Environment(
            partial(TransparentSteering, network.is_intercepted),
            lambda: nullcontext(network),
            make_comparing(noise),
            noise=noise,
            note=None if network.is_intercepted else NOT_INTERCEPTED,
        )


@contextmanager
def rootless_environment(rules: Sequence[NoiseRule]) -> Iterator[Environment]:
    """The same for a command, which ends with a sentence: raises `KebpfError`."""
    from kebpf.kernel.errors import KernelError

    with ExitStack() as stack:
        try:
            environment = stack.enter_context(unprivileged_environment(rules))
        except KernelError as error:
            raise KebpfError(str(error), hint=error.hint) from error
        if environment.note is not None:
            typer.echo(f"kebpf: {environment.note}", err=True)
        yield environment


def make_comparing(noise: Noise) -> Comparing:
    """The comparison, without what a person said not to compare."""
    return partial(compare, noise=noise)
