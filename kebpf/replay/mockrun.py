"""Runs a command to its end with its calls answered from recorded mocks, and counts the misses."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kebpf.kernel.errors import KernelError
from kebpf.replay.invoker import Invoker
from kebpf.replay.launch import Application, LaunchError, launch_application
from kebpf.replay.mockcontrol import SOCKET_VARIABLE, MockControl, listen
from kebpf.replay.mocklane import Lane, open_lane
from kebpf.replay.mockscope import MockLibrary, Scope, Scopes, Totals
from kebpf.replay.mockset import MissedCall
from kebpf.replay.noise import NoiseUse
from kebpf.replay.responder import SETTLE_S
from kebpf.replay.runtls import RunAuthority
from kebpf.replay.setrun import Environment
from kebpf.replay.spawn import Launch
from kebpf.replay.stages import Recorded

GRACE_S = 2.0  # for what the command left running


class MockRunError(Exception):
    """The run could not begin; the text is one sentence, ``hint`` says what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(slots=True)
class MockRunResult:
    """How the command ended (negative: by that signal) and what became of its calls.

    ``answered`` counts calls, those of sessions too; ``used`` and ``mocks`` count mocks without
    those, which answer any number of sessions.  Where tests chose their mocks the counts are sums
    over the tests; ``tolerated`` are misses that a test said it provokes.
    """

    status: int
    how: str
    seconds: float
    answered: int = 0
    used: int = 0
    mocks: int = 0
    missed: int = 0
    tolerated: int = 0
    misses: Counter[MissedCall] = field(default_factory=Counter)
    noise: list[NoiseUse] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """The command's own (128 and the signal's number); 1 in place of 0 when calls missed."""
        if self.status < 0:
            return 128 - self.status
        return self.status or int(self.missed > 0)


class MockRun:
    """One command on the mocks of some test sets.

    ``opens_sets`` opens the sets that a test asks for by name.  With ``is_default`` nobody named
    ``sets``: they do not answer for a test runner whose tests say which mocks they want.
    ``trusted`` are files of authorities that the command is known to trust.
    """

    def __init__(
        self,
        sets: Sequence[Recorded],
        environment: Environment,
        open_sets: Callable[[Sequence[str]], Sequence[Recorded]] = lambda _: (),
        is_default: bool = False,
        trusted: Sequence[Path] = (),
    ) -> None:
        self._sets = sets
        self._environment = environment
        self._is_default = is_default
        self._trusted = trusted
        self._authority = RunAuthority()
        self._protocols = environment.protocols()
        self._library = MockLibrary(open_sets, self._protocols, environment.noise)
        self._totals = Totals()

    async def run(self, command: str | Sequence[str], invoker: Invoker) -> MockRunResult:
        """Runs the command until its main process ends; what it left running is ended too.

        Raises `MockRunError` when it could not be started.
        """
        try:
            return await self._run(command, invoker)
        except KernelError as error:
            raise MockRunError(str(error), error.hint or "") from error
        except LaunchError as error:
            raise MockRunError(str(error)) from error
        except OSError as error:
            reason = f"the environment could not be set up: {error.strerror or error}"
            raise MockRunError(reason) from error

    async def _run(self, command: str | Sequence[str], invoker: Invoker) -> MockRunResult:
        async with contextlib.AsyncExitStack() as stack:
            lane = await stack.enter_async_context(self._open_main())
            named = [] if self._is_default else [one.manifest.name for one in self._sets]
            control = MockControl(lane, self._open_further, self._library, named)
            if self._is_default:
                control.on_hello = lambda: lane.scopes.replace_base(self._make_empty)
            path = await stack.enter_async_context(listen(control, invoker.uid, invoker.gid))
            application = await self._launch(stack, command, _add_socket(invoker, path), lane)
            began = time.monotonic()
            status = await application.wait()
            seconds = time.monotonic() - began
            await application.stop(GRACE_S)
            await lane.settle(SETTLE_S)
        return self._make_result(status, application.describe_exit(), seconds)

    def _make_result(self, status: int, how: str, seconds: float) -> MockRunResult:
        totals = self._totals
        return MockRunResult(
            status,
            how,
            seconds,
            answered=totals.answered,
            used=totals.used,
            mocks=totals.mocks,
            missed=totals.missed,
            tolerated=totals.tolerated,
            misses=totals.misses,
            noise=[use for use in self._environment.noise.uses() if use.count],
        )

    @contextlib.asynccontextmanager
    async def _open_main(self) -> AsyncIterator[Lane]:
        """The command's own lane: all of the sets answer."""
        now_ns = time.time_ns()
        make_base = partial(self._library.make_scope_of, self._sets, now_ns)
        scopes = Scopes(make_base, self._totals)
        try:
            async with self._open_lane(scopes) as lane:
                _ = scopes.current  # a command that never calls has mocks to use as well
                yield lane
        finally:
            scopes.close()

    @contextlib.asynccontextmanager
    async def _open_further(self) -> AsyncIterator[Lane]:
        """That of a worker of a test runner: what the sets named for the command are is its too."""
        now_ns = time.time_ns()
        named = partial(self._library.make_scope_of, self._sets, now_ns)
        scopes = Scopes(self._make_empty if self._is_default else named, self._totals)
        try:
            async with self._open_lane(scopes) as lane:
                yield lane
        finally:
            scopes.close()

    def _open_lane(self, scopes: Scopes) -> AbstractAsyncContextManager[Lane]:
        return open_lane(self._environment, scopes, self._protocols, self._authority)

    def _make_empty(self) -> Scope:
        return self._library.make_scope(())

    async def _launch(
        self,
        stack: contextlib.AsyncExitStack,
        command: str | Sequence[str],
        invoker: Invoker,
        lane: Lane,
    ) -> Application:
        plan = lane.tls.plan_trust(command, invoker.environment, self._trusted)
        lane.responder.refusals.is_trusted = plan is not None
        lane.responder.login = lane.tls.find_login(command, invoker.environment)
        files: dict[Path, Path | bytes] = {**lane.responder.files}
        launch = Launch(
            command,
            invoker,
            lane.group,
            captures_output=False,
            dies_with_us=True,
            files=files | (plan.files if plan else {}),
            variables=plan.environment if plan else {},
        )
        application = await launch_application(launch)
        stack.push_async_callback(application.stop, GRACE_S)
        return application


def _add_socket(invoker: Invoker, path: Path) -> Invoker:
    return replace(invoker, environment={**invoker.environment, SOCKET_VARIABLE: str(path)})
