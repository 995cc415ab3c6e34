"""Runs one test set: responder, redirect and application up, its cases one by one, all down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kebpf.kernel.errors import KernelError
from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.registry import load_protocols
from kebpf.recording.model import TestCase
from kebpf.replay.binding import Bindings
from kebpf.replay.caserun import (
    CALLS_WAIT_S,
    Scene,
    await_quiet,
    describe_problems,
    run_case,
    skip_case,
)
from kebpf.replay.comparison import compare
from kebpf.replay.events import (
    ApplicationReady,
    CallFinding,
    CaseFinished,
    Ledger,
    MissKind,
    RunEvent,
    RunFailed,
    Verdict,
)
from kebpf.replay.executables import describe_other_interpreter, find_executable
from kebpf.replay.invoker import Invoker
from kebpf.replay.launch import DEFAULT_GRACE_S, Application, LaunchError, launch_application
from kebpf.replay.localready import check_free, wait_local
from kebpf.replay.matcher import Matcher
from kebpf.replay.noise import Noise
from kebpf.replay.processes import Group
from kebpf.replay.readiness import DEFAULT_TIMEOUT_S as DEFAULT_READY_S
from kebpf.replay.readiness import Readiness, explain_exit, wait_ready
from kebpf.replay.recordedclock import RecordedClock, make_recorded_clock
from kebpf.replay.replayer import DEFAULT_TIMEOUT_S as DEFAULT_REQUEST_S
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from kebpf.replay.runtls import RunAuthority, RunTls
from kebpf.replay.selection import SelectedSet, write_repeat_command
from kebpf.replay.sharing import SharedCall
from kebpf.replay.spawn import Launch
from kebpf.replay.stages import Comparing, Refusal, Steering
from kebpf.replay.tally import Part
from kebpf.replay.timeline import Timeline

if TYPE_CHECKING:  # a run without TLS loads nothing of it
    from kebpf.replay.trust import TrustPlan


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person can ask of a run; times in seconds.

    ``cases`` are names or globs (none: all); with ``shuffle``, a seed, they run in the order drawn
    from it; ``is_alone`` starts the application anew for each of them; ``is_failing_fast`` ends
    the run after the first case that does not pass; ``is_part`` says that other cases of the same
    sets run elsewhere at the same time; ``is_detailed`` has the cases' requests and the times of
    their calls told; with ``is_clock_recorded`` the application starts at the time at which the
    first case was recorded; ``trusted`` are files of authorities that the application is known to
    trust; ``delay_s`` is waited in addition once the application listens;
    ``on_line`` gets the application's output line by line, ``on_note``
    sentences a person should read.
    """

    command: str | Sequence[str]
    invoker: Invoker
    cases: Sequence[str] = ()
    shuffle: int | None = None
    is_alone: bool = False
    is_failing_fast: bool = False
    is_part: bool = False
    is_detailed: bool = False
    delay_s: float = 0.0
    ready_timeout_s: float = DEFAULT_READY_S
    request_timeout_s: float = DEFAULT_REQUEST_S
    calls_wait_s: float = CALLS_WAIT_S
    grace_s: float = DEFAULT_GRACE_S
    log_file: Path | None = None
    is_clock_recorded: bool = False
    trusted: Sequence[Path] = ()
    on_line: Callable[[str], None] | None = None
    on_note: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run is done with: the kernel's part and the judging part, handed in.

    ``make_group`` gives what the application's processes are to have in common: a new control
    group that is removed when its context ends, or a network of the run's own.  Both may raise
    `KernelError` or ``OSError``.
    """

    make_steering: Callable[[], Steering]
    make_group: Callable[[], AbstractContextManager[Group]]
    compare: Comparing = compare
    protocols: Callable[[], dict[str, ProtocolSpec]] = load_protocols
    noise: Noise = field(default_factory=Noise)
    note: str | None = None


class SetRun:
    """One test set's run; once its events are at an end, what belongs to no one case is known."""

    def __init__(
        self, selected: SelectedSet, options: RunOptions, environment: Environment
    ) -> None:
        self.findings: list[CallFinding] = []
        self.ledger = Ledger()
        self.is_ready = False
        self._shared: list[SharedCall] = []
        self._matcher: Matcher | None = None
        self._responder: Responder | None = None
        self._clock: RecordedClock | None = None
        self._steering: Steering | None = None
        self._tls: RunTls | None = None
        self._ran: set[str] = set()
        self._early: dict[str, CaseFinished] = {}  # cases that another one needed before their turn
        self.selected = selected
        self._options = options
        self._environment = environment

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Starts everything, runs the cases and ends everything."""
        async with AsyncExitStack() as stack:
            started = time.monotonic()
            try:
                scene, readiness = await self._start(stack)
            except (LaunchError, KernelError, OSError) as error:
                yield RunFailed(_explain(error), getattr(error, "output", []))
                self._finish()  # a call without an answer is often why it did not start
                return
            self.is_ready = True
            ports = [address.port for address in readiness.addresses.values()]
            yield ApplicationReady(
                self.selected.name,
                scene.application.pid,
                list(dict.fromkeys(ports)),
                time.monotonic() - started,
                self.selected.needed_paths,
            )
            async for event in self._run_cases(scene):
                yield event
            self._finish()

    async def _start(self, stack: AsyncExitStack) -> tuple[Scene, Readiness]:
        self._clock = self._make_clock()
        check_free(self.selected.needed_paths)
        bindings = Bindings()
        protocols = self._environment.protocols()
        routes = Routes()
        matcher = Matcher(
            self.selected.recorded,
            bindings,
            protocols.__getitem__,
            [case.name for case in self.selected.cases],
            routes.add,
            self.selected.set_apart,
            self.selected.routes,
            self._environment.noise,
        )
        self._matcher = matcher
        self._steering = steering = self._environment.make_steering()
        stack.callback(steering.close)
        group = stack.enter_context(self._environment.make_group())
        authority = RunAuthority([] if self._clock is None else [self._clock.now_ns()])
        self._tls = tls = RunTls(authority, routes)
        self._responder = responder = Responder(
            steering, matcher, routes, protocols, encryption=tls.encryption
        )
        stack.push_async_callback(responder.close)
        responder.refusals.group = group
        steering.attach(group, await responder.start())
        called = asyncio.Event()
        matcher.on_call = called.set
        matcher.begin_case(None, self._now_ns())
        application = await self._launch(stack, group)
        readiness = await self._wait_ready(application, steering)
        if self._clock is not None:
            self._clock.check(readiness.pids)
        self.findings += matcher.end_case(self._now_ns())
        self._keep_problems(responder)
        scene = self._make_scene(application, readiness, responder, matcher, bindings, called)
        return scene, readiness

    def _make_clock(self) -> RecordedClock | None:
        """Raises `LaunchError`."""
        options = self._options
        if not options.is_clock_recorded:
            return None
        start_ns = min(case.timing.start_ns for case in self.selected.cases)
        executable = find_executable(options.command, options.invoker.environment)
        return make_recorded_clock(start_ns, executable)

    def _now_ns(self) -> int:
        """By the application's clock."""
        return time.time_ns() if self._clock is None else self._clock.now_ns()

    async def _launch(self, stack: AsyncExitStack, group: Group) -> Application:
        options, plan = self._options, self._plan_trust()
        files: dict[Path, Path | bytes] = {**(self._responder.files if self._responder else {})}
        launch = Launch(
            options.command,
            options.invoker,
            group,
            log_file=options.log_file,
            on_line=options.on_line,
            dies_with_us=True,
            clock=self._clock,
            files=files | (plan.files if plan else {}),
            variables=plan.environment if plan else {},
        )
        application = await launch_application(launch)
        stack.push_async_callback(self._stop, application)
        return application

    def _plan_trust(self) -> TrustPlan | None:
        options, manifest = self._options, self.selected.recorded.manifest
        if self._tls is None or self._responder is None:
            return None
        known = [one for one in (manifest.executable, *manifest.command[:1]) if one]
        environment = options.invoker.environment
        plan = self._tls.plan_trust(options.command, environment, options.trusted, known)
        self._responder.refusals.is_trusted = plan is not None
        self._responder.login = self._tls.find_login(options.command, environment)
        return plan

    async def _stop(self, application: Application) -> None:
        survivors = await application.stop(self._options.grace_s)
        if survivors:
            self._options.on_note(f"processes that could not be ended: {survivors}")

    async def _wait_ready(self, application: Application, steering: Steering) -> Readiness:
        selected = self.selected
        readiness = await wait_ready(
            application,
            steering.watch_listening(),
            selected.needed_ports,
            selected.recorded.manifest.ports,
            self._options.ready_timeout_s,
        )
        await wait_local(application, selected.needed_paths, self._options.ready_timeout_s)
        recorded = selected.recorded.manifest.executable
        for note in (readiness.note, describe_other_interpreter(recorded, readiness.pids)):
            if note is not None:
                self._options.on_note(note)
        if self._options.delay_s > 0:
            await self._delay(application)
        return readiness

    async def _delay(self, application: Application) -> None:
        """The wait a person asked for; it ends early only if the application does."""
        exit_ = asyncio.ensure_future(application.wait())
        done, _ = await asyncio.wait({exit_}, timeout=self._options.delay_s)
        exit_.cancel()
        if done:
            raise await explain_exit(application, "during the delay before the first case")

    def _make_scene(
        self,
        application: Application,
        readiness: Readiness,
        responder: Responder,
        matcher: Matcher,
        bindings: Bindings,
        called: asyncio.Event,
    ) -> Scene:
        timeline = Timeline(matcher.own_calls) if self._options.is_detailed else None
        matcher.watch_call = timeline.note if timeline else None
        protocols = self._environment.protocols()
        return Scene(
            test_set=self.selected.name,
            application=application,
            addresses=readiness.addresses,
            responder=responder,
            matcher=matcher,
            bindings=bindings,
            compare=self._environment.compare,
            find_protocol=protocols.__getitem__,
            repeat=partial(_repeat, self.selected.name, self._options),
            request_timeout_s=self._options.request_timeout_s,
            calls_wait_s=self._options.calls_wait_s,
            called=called,
            timeline=timeline,
            now_ns=self._now_ns,
        )

    async def _run_cases(self, scene: Scene) -> AsyncGenerator[RunEvent, None]:
        application = scene.application
        async for case in self.iter_cases():
            await self._run_needed(scene, case)
            finished = self._early.pop(case.name, None) or await self._run_case(scene, case)
            yield finished
            if self._options.is_failing_fast and finished.verdict is not Verdict.PASSED:
                break
        if application.status is None:
            await await_quiet(scene)
        else:
            error = await explain_exit(application, "before the run was over")
            yield RunFailed(str(error), error.output)

    async def _run_needed(self, scene: Scene, case: TestCase) -> None:
        """Runs what a case needs and what did not run yet; whose turn comes later is told then."""
        chosen = {one.name for one in self.selected.cases}
        for name in case.needs:
            if name not in self.selected.needed:
                self._options.on_note(f"{case.name} needs {name} before it, which is not there")
        for needed in self.selected.list_needed(case):
            if needed.name in self._ran:
                continue
            finished = await self._run_case(scene, needed)
            if needed.name in chosen:
                self._early[needed.name] = finished
            elif finished.verdict is not Verdict.PASSED:
                text = f"{case.name} needs {needed.name} before it, which did not pass"
                self._options.on_note(text)

    async def _run_case(self, scene: Scene, case: TestCase) -> CaseFinished:
        self._ran.add(case.name)
        if scene.application.status is None:
            return await run_case(scene, case)
        reason = f"not sent: the application {scene.application.describe_exit()}"
        return skip_case(scene, case, reason)

    async def iter_cases(self) -> AsyncIterator[TestCase]:
        """The cases in the order in which they run."""
        for case in self.selected.cases:
            yield case

    def sum_up(self) -> Part:
        """What it came to, once its events are at an end."""
        calls = frozenset(name for case in self.selected.cases for name in case.calls)
        name, is_ready = self.selected.name, self.is_ready
        return Part(name, is_ready, self.findings, self.ledger, calls, self._shared)

    def _finish(self) -> None:
        if self._matcher is not None:
            findings, self.ledger = self._matcher.finish()
            if self._options.is_part:
                self._shared = list(self._matcher.list_shared())
            self.findings += findings
        if self._responder is not None:
            self._keep_problems(self._responder)
            self._tell_foreign(self._responder.foreign_count)
            for sentence in self._responder.refusals.list_silent():
                self._options.on_note(sentence)
        if self._steering is not None:
            self.findings += map(describe_refusal, self._steering.take_refusals())

    def _tell_foreign(self, number: int) -> None:
        if number:
            count = "a connection" if number == 1 else f"{number} connections"
            self._options.on_note(f"{count} from outside of the application was refused")

    def _keep_problems(self, responder: Responder) -> None:
        """Problems outside a case become findings of the run: it did not pass."""
        for problem in responder.take_problems():
            self.findings.append(
                CallFinding(
                    "errored", problem.protocol, problem.destination, describe_problems([problem])
                )
            )


def describe_refusal(refusal: Refusal) -> CallFinding:
    """Packets that would have left the machine: no recording has them, and nobody got them."""
    return CallFinding(
        "extra",
        refusal.protocol,
        refusal.host,
        f"{refusal.protocol} packet to {refusal.host}, refused: it would have left the machine",
        MissKind.NEVER_RECORDED,
        count=refusal.packets,
        recorded=0,
        made=refusal.packets,
        operation=f"{refusal.protocol} packet",
    )


def _repeat(set_name: str, options: RunOptions, case: TestCase) -> str:
    """For a case of a shuffled run all of it: what came before may be why it failed."""
    if options.shuffle is None or options.is_alone:
        return write_repeat_command(set_name, [case.name], options.command)
    return write_repeat_command(set_name, options.cases, options.command, options.shuffle)


def _explain(error: LaunchError | KernelError | OSError) -> str:
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"the test environment could not be set up: {error.strerror or error}{where}"
    hint = error.hint if isinstance(error, KernelError) else ""
    return f"{error} ({hint})" if hint else str(error)
