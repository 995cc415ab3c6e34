"""Runs a command to its end with its calls answered from recorded mocks, and counts the misses."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from kebpf.kernel.errors import KernelError
from kebpf.replay.invoker import Invoker
from kebpf.replay.launch import Application, LaunchError, launch_application
from kebpf.replay.mockset import FreeMocks, MissedCall, MockMatcher
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
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
    those, which answer any number of sessions.
    """

    status: int
    how: str
    seconds: float
    answered: int = 0
    used: int = 0
    mocks: int = 0
    missed: int = 0
    misses: Counter[MissedCall] = field(default_factory=Counter)

    @property
    def exit_status(self) -> int:
        """The command's own (128 and the signal's number); 1 in place of 0 when calls missed."""
        if self.status < 0:
            return 128 - self.status
        return self.status or int(self.missed > 0)


class MockRun:
    """One command on the mocks of some test sets."""

    def __init__(self, sets: Sequence[Recorded], environment: Environment) -> None:
        self._environment = environment
        self._protocols = environment.protocols()
        self._mocks = FreeMocks(sets)
        self._routes = Routes()
        self._matcher = MockMatcher(self._mocks, self._protocols.__getitem__, self._routes.add)

    @property
    def mock_count(self) -> int:
        """How many mocks there are, those of sessions too."""
        return len(self._matcher.index)

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
        async with self._launched(command, invoker) as (application, responder):
            began = time.monotonic()
            status = await application.wait()
            seconds = time.monotonic() - began
            await application.stop(GRACE_S)
            await responder.settle()
            self._keep_problems(responder)
        return self._make_result(status, application.describe_exit(), seconds)

    def _make_result(self, status: int, how: str, seconds: float) -> MockRunResult:
        matcher = self._matcher
        return MockRunResult(
            status,
            how,
            seconds,
            answered=matcher.answered,
            used=matcher.used,
            mocks=matcher.total,
            missed=matcher.missed,
            misses=matcher.misses,
        )

    @contextlib.asynccontextmanager
    async def _launched(
        self, command: str | Sequence[str], invoker: Invoker
    ) -> AsyncIterator[tuple[Application, Responder]]:
        async with contextlib.AsyncExitStack() as stack:
            steering = self._environment.make_steering()
            stack.callback(steering.close)
            group = stack.enter_context(self._environment.make_group())
            responder = Responder(steering, self._matcher, self._routes, self._protocols)
            stack.push_async_callback(responder.close)
            steering.attach(group, await responder.start())
            self._matcher.begin_case(None, time.time_ns())
            launch = Launch(
                command,
                invoker,
                group,
                captures_output=False,
                dies_with_us=True,
                files=responder.files,
            )
            application = await launch_application(launch)
            stack.push_async_callback(application.stop, GRACE_S)
            yield application, responder

    def _keep_problems(self, responder: Responder) -> None:
        for problem in responder.take_problems():
            reason = f"the connection could not be served: {problem.text}"
            self._matcher.note_miss(MissedCall(problem.destination, problem.protocol, reason))
