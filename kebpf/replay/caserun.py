"""Runs one case: sends its request, compares the response, waits for its calls, judges."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kebpf.protocols.base import Document, Exchange, ProtocolSpec
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.curl import curl_line
from kebpf.recording.casefile import fingerprint_case
from kebpf.recording.model import TestCase
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.connection import Address
from kebpf.replay.events import CaseFinished, Exact, Revision, Verdict
from kebpf.replay.launch import Application
from kebpf.replay.replayer import Replayer, ReplayError
from kebpf.replay.responder import ConnectionProblem, Responder
from kebpf.replay.stages import Comparing, Matching
from kebpf.replay.timeline import Timeline

CALLS_WAIT_S = 1.0  # how long after its response a case's calls may still come
LOOK_S = 0.03  # between two looks at what the application does
QUIET_LOOKS = 5  # at none of which it did anything: it has no more to do
SETTLED_LOOKS = 2  # the same of one that is done with all that it was recorded to do
SEQUEL_PAUSES_S = (0.001, 0.002, 0.004, 0.008, 0.016)  # at work behind a response: looked at again
EXIT_WAIT_S = 0.5  # of an exit and the end of a connection by it, either may be seen first


@dataclass(frozen=True, slots=True)
class Scene:
    """What a case of one test set runs against; with a ``timeline`` its events tell more."""

    test_set: str
    application: Application
    addresses: dict[int, Address]
    responder: Responder
    matcher: Matching
    bindings: Bindings
    compare: Comparing
    find_protocol: Callable[[str], ProtocolSpec]
    repeat: Callable[[TestCase], str]
    request_timeout_s: float
    calls_wait_s: float = CALLS_WAIT_S
    called: asyncio.Event = field(default_factory=asyncio.Event)
    timeline: Timeline | None = None
    now_ns: Callable[[], int] = time.time_ns  # by the application's clock


async def run_case(scene: Scene, case: TestCase) -> CaseFinished:
    """Runs ``case``; whatever happens ends in a verdict."""
    started = time.monotonic()
    scene.matcher.begin_case(case, scene.now_ns())
    finished = await _play(scene, case, _make_event(scene, case))
    timings = scene.timeline.finish(case) if scene.timeline else []
    unplaced = scene.matcher.current.unplaced
    finished = replace(finished, unplaced=unplaced, not_compared=finished.not_compared + unplaced)
    calls = scene.matcher.end_case(scene.now_ns())
    error = finished.error
    problems = scene.responder.take_problems()
    if problems:
        error = "; ".join(filter(None, [error, describe_problems(problems)]))
    seconds = time.monotonic() - started
    finished = replace(finished, calls=calls, timings=timings, error=error, seconds=seconds)
    finished = _judge(finished)
    if finished.verdict is not Verdict.FAILED:
        return replace(finished, revision=None)
    return replace(finished, recorded=fingerprint_case(case))


def skip_case(scene: Scene, case: TestCase, error: str) -> CaseFinished:
    """The event for a case that could not be sent."""
    return _judge(replace(_make_event(scene, case), error=error))


def describe_problems(problems: Sequence[ConnectionProblem]) -> str:
    """What the responder could not serve, in one line."""
    texts = dict.fromkeys(f"{one.destination} ({one.protocol}): {one.text}" for one in problems)
    return "kebpf could not serve a call: " + "; ".join(texts)


def _make_event(scene: Scene, case: TestCase) -> CaseFinished:
    """The event of a case of which only the request is known yet."""
    spec = scene.find_protocol(case.protocol)
    return CaseFinished(
        test_set=scene.test_set,
        case=case.name,
        request=spec.describe(case.request),
        verdict=Verdict.ERRORED,
        seconds=0.0,
        curl=_write_curl(scene, case),
        repeat=scene.repeat(case),
        classes=case.generated,
        recorded_seconds=(case.timing.end_ns - case.timing.start_ns) / 1e9,
        sent=spec.view(scene.bindings.to_actual(case.request)) if scene.timeline else None,
    )


def _judge(finished: CaseFinished) -> CaseFinished:
    """Passed means: sent, served, the response as recorded and every call as recorded."""
    if finished.error is not None:
        return replace(finished, verdict=Verdict.ERRORED)
    differs = finished.mismatches or finished.calls
    return replace(finished, verdict=Verdict.FAILED if differs else Verdict.PASSED)


async def _play(scene: Scene, case: TestCase, finished: CaseFinished) -> CaseFinished:
    start_ns = scene.now_ns()
    if scene.timeline:
        scene.timeline.begin()
    address = _find_address(scene, case)
    if address is None:
        error = f"it was served on {case.endpoint}, where nothing listens now"
        return replace(finished, error=error)
    replayer = Replayer(address, scene.request_timeout_s, scene.find_protocol)
    try:
        exchange = await _send(scene, case, replayer)
        window = Window(start_ns, scene.now_ns())
        finished = _compare(scene, case, exchange, window, finished)
        response = (exchange.response or {}) if finished.mismatches else None
        finished = replace(finished, revision=_revise(scene, case, response, window))
        await _await_calls(scene, start_ns)
        if finished.mismatches:  # another response may well be the last on its connection
            return finished
        return replace(finished, error=await _await_sequel(scene, replayer))
    except ReplayError as error:
        return replace(finished, error=str(error))
    finally:
        replayer.close()


async def _await_sequel(scene: Scene, replayer: Replayer) -> str | None:
    """What the application did to a connection that was to stay open, once it has nothing to do."""
    if not replayer.is_kept:
        return None
    for pause_s in SEQUEL_PAUSES_S:
        is_busy = scene.application.is_busy()
        sequel = replayer.find_sequel()
        if sequel is not None or not is_busy:
            return sequel
        await asyncio.sleep(pause_s)
    return replayer.find_sequel()


def _revise(scene: Scene, case: TestCase, response: Document | None, window: Window) -> Revision:
    shift_ns = scene.bindings.shift_ns
    if shift_ns is None:
        shift_ns = window.start_ns - case.timing.start_ns
    told = None if response is None else Exact(scene.bindings.tell(response))
    return Revision(told, window.start_ns, window.end_ns, shift_ns)


async def _send(scene: Scene, case: TestCase, replayer: Replayer) -> Exchange:
    """The exchange, or `ReplayError`, at once also if the application ends meanwhile."""
    application = scene.application
    loop = asyncio.get_running_loop()
    application.on_exit = lambda: loop.call_later(EXIT_WAIT_S, replayer.give_up)
    try:
        return await replayer.send(case, scene.bindings)
    except ReplayError:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WAIT_S):
                await application.wait()
        if application.status is None:
            raise
        raise ReplayError(f"the application {application.describe_exit()}") from None
    finally:
        application.on_exit = None


def _find_address(scene: Scene, case: TestCase) -> Address | None:
    """Where to send a case's request, if the application listens there."""
    endpoint = case.endpoint
    if endpoint.transport == "unix":
        return Address(endpoint.host, root=f"/proc/{scene.application.pid}/root")
    return scene.addresses.get(endpoint.port) if endpoint.transport == "tcp" else None


def _compare(
    scene: Scene,
    case: TestCase,
    exchange: Exchange,
    window: Window,
    finished: CaseFinished,
) -> CaseFinished:
    spec = scene.find_protocol(case.protocol)
    expected, actual = spec.view(case.response), spec.view(exchange.response or {})
    mismatches, strength = scene.compare(case, expected, actual, scene.bindings, window)
    return replace(
        finished,
        mismatches=list(mismatches),
        exact=strength.exact,
        by_class=strength.by_class,
        not_compared=strength.not_compared,
        expected=expected,
        actual=actual,
        answered_seconds=(window.end_ns - window.start_ns) / 1e9,
    )


async def _await_calls(scene: Scene, start_ns: int) -> None:
    """Waits for the recorded calls that are still to come; each call that comes is looked at.

    It ends early once the application has done nothing for a while, later after the request than
    any of these calls was recorded, if all of them were made before the response.
    """
    quiet = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(scene.calls_wait_s):
            while scene.matcher.pending() and not (
                quiet >= QUIET_LOOKS and _is_due(scene, start_ns)
            ):
                quiet = 0 if await _is_active(scene) else quiet + 1
    if scene.matcher.current.has_late():
        await await_quiet(scene)


async def await_quiet(scene: Scene) -> None:
    """Waits for calls that nothing tells of: they are made after a response, unlike before."""
    quiet = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(scene.calls_wait_s):
            while quiet < SETTLED_LOOKS:
                quiet = 0 if await _is_active(scene) else quiet + 1


async def _is_active(scene: Scene) -> bool:
    """Whether the application makes a call within a moment, or is at work at its end."""
    scene.called.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            return await scene.called.wait()
    return scene.application.is_busy()


def _is_due(scene: Scene, start_ns: int) -> bool:
    delay_ns = scene.matcher.pending_delay_ns()
    quiet_ns = int(QUIET_LOOKS * LOOK_S * 1e9)
    return delay_ns is not None and scene.now_ns() - quiet_ns >= start_ns + delay_ns


def _write_curl(scene: Scene, case: TestCase) -> str:
    address = _find_address(scene, case)
    if case.protocol != HTTP1.name or address is None:
        return ""
    request = scene.bindings.to_actual(case.request)
    scheme = "http" if case.tls is None else "https"
    if not address.is_local:
        return curl_line(request, f"{scheme}://{address}")
    return curl_line(request, f"{scheme}://localhost", address.host)
