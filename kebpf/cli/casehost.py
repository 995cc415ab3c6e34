"""A process that runs cases of one test set for a test runner, which asks for them one by one.

It has a socket to the one that started it.  First an `Order` comes in; what goes out are the run's
events, `Note`, and last `Done` or `Refused`.  After the application is ready the names of cases
come in, then ``None``.  When the other end is closed, the application is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from kebpf.cli.errors import KebpfError
from kebpf.cli.options import TestOptions
from kebpf.cli.test import isolate_run, make_run_options, name_set
from kebpf.recording.errors import TestSetError
from kebpf.recording.store import TestSet
from kebpf.replay.invoker import InvokerError
from kebpf.replay.selection import SelectedSet, select_cases
from kebpf.replay.setrun import Environment
from kebpf.replay.stepping import SteppedRun
from kebpf.replay.tally import Part

START = "import sys; from kebpf.cli.casehost import main; main(int(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: one test set and some of its cases by name.

    ``is_part``: other processes run others of them at the same time.
    """

    options: TestOptions
    cases: list[str]
    is_part: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that a person should read."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The run could not begin."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over, and what it came to beside its cases."""

    part: Part


def main(descriptor: int) -> None:
    """Serves one order over the socket with this number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides when it is over
    connection = Connection(descriptor)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
        order: Order = connection.recv()
        try:
            with _enter(order.options) as environment:
                asyncio.run(_run(connection, order, environment))
        except KebpfError as error:
            hint = f" ({error.hint})" if error.hint else ""
            connection.send(Refused(f"{error.message}{hint}"))
        except (TestSetError, InvokerError) as error:
            connection.send(Refused(str(error)))


def _enter(options: TestOptions) -> AbstractContextManager[Environment]:
    """Where the run takes place; called while the process has one thread."""
    from kebpf.cli.environment import make_environment, rootless_environment

    if options.is_rootless:
        return rootless_environment(options.noise)
    if options.is_isolated:
        isolate_run()
    return nullcontext(make_environment(options.noise))


async def _run(connection: Connection, order: Order, environment: Environment) -> None:
    run_options = replace(
        make_run_options(order.options),
        is_part=order.is_part,
        on_note=lambda text: connection.send(Note(text)),
    )
    run = SteppedRun(_select(order), run_options, environment)
    loop = asyncio.get_running_loop()
    reader = threading.Thread(target=_read, args=(connection, run, loop), daemon=True)
    reader.start()
    async with aclosing(run.events()) as events:
        async for event in events:
            connection.send(event)
    connection.send(Done(run.sum_up()))


def _select(order: Order) -> SelectedSet:
    [path] = order.options.test_sets
    selected = select_cases(name_set(path), TestSet.open(path), [])
    wanted = set(order.cases)
    return replace(selected, cases=[case for case in selected.cases if case.name in wanted])


def _read(connection: Connection, run: SteppedRun, loop: asyncio.AbstractEventLoop) -> None:
    for name in _asked(connection):
        loop.call_soon_threadsafe(run.ask, name)


def _asked(connection: Connection) -> Iterator[str | None]:
    """What comes in; when nobody is there any more, the run is to end."""
    name: str | None = ""
    while name is not None:
        try:
            name = connection.recv()
        except (EOFError, OSError):
            name = None
        yield name
