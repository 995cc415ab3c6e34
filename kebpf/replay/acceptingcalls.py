"""Makes the calls of a new version those that a case asks for, where their answer is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kebpf.protocols.base import Document
from kebpf.recording.intake import Intake
from kebpf.recording.model import Evidence, Mock, TestCase, Tier, Timing
from kebpf.recording.templates import instance_class
from kebpf.recording.times import Window
from kebpf.recording.values import text_of
from kebpf.replay.accepting import CannotAcceptError
from kebpf.replay.binding import Bindings, pair_tokens
from kebpf.replay.call import Leaves, is_same, leaves_of, shape_operation
from kebpf.replay.world import World

MOST_COPIES = 100  # of one call that is made more often now
ANEW = "no answer to it was recorded: record anew"
_SHORTEST_ECHO = 3  # characters of an old value that is looked for in the answer


@dataclass(frozen=True, slots=True)
class FoundCall:
    """One call that is not as recorded, as a run told it.

    ``request`` is the call in the recording's terms, ``answer`` the mock whose answer it got.
    """

    kind: str
    mock: str | None = None
    request: Document | None = None
    answer: str | None = None
    is_unanswered: bool = False
    count: int = 1


def why_not(world: World, call: FoundCall) -> str | None:
    """Why a call cannot be accepted; ``None``: it can be."""
    if call.kind == "missing":
        return None if _find(world, call.mock) else "it is no call of its own in the recording"
    if call.kind == "changed":
        return _why_not_changed(world, call)
    if call.kind not in ("extra", "repeated"):
        return "the order of calls cannot be taken from a replay: record anew"
    answer = _find(world, call.answer)
    if answer is None or call.request is None or call.is_unanswered:
        return ANEW
    if answer.generated:
        return "it holds values that are new each time: record anew"
    return None if call.count <= MOST_COPIES else f"it came {call.count} times: record anew"


def _why_not_changed(world: World, call: FoundCall) -> str | None:
    mock = _find(world, call.mock)
    if mock is None or call.request is None:
        return "it is no call of its own in the recording: record anew"
    old, new = _leaves(world, mock, mock.request), _leaves(world, mock, call.request)
    shapes = [shape_operation(str(leaves.get("/operation"))) for leaves in (old, new)]
    return None if shapes[0] == shapes[1] else f"it is another operation, and {ANEW}"


def find_echo(world: World, call: FoundCall) -> str | None:
    """A value that was changed and that the recorded answer holds, as it was."""
    mock = _find(world, call.mock)
    if mock is None or call.request is None or mock.response is None:
        return None
    old, new = _leaves(world, mock, mock.request), _leaves(world, mock, call.request)
    texts = Intake(world.view_answer(mock))
    said = {*texts.texts, *texts.numbers}
    for path, value in old.items():
        text = text_of(value)
        is_changed = path not in new or not is_same(value, new[path])
        if is_changed and text and len(text) >= _SHORTEST_ECHO and text.lower() in said:
            return text
    return None


def accept_call(world: World, call: FoundCall, case: str | None, made: Window) -> None:
    """Puts it into the set.  Raises `CannotAcceptError`."""
    reason = why_not(world, call)
    if reason is not None:
        raise CannotAcceptError(reason)
    if call.kind == "missing":
        world.amended.drop_mock(str(call.mock))
    elif call.kind == "changed":
        _accept_changed(world, call, made)
    else:
        _accept_more(world, call, case)


def _accept_changed(world: World, call: FoundCall, made: Window) -> None:
    mock, request = _find(world, call.mock), call.request
    assert mock is not None and request is not None
    old, new = _leaves(world, mock, mock.request), _leaves(world, mock, request)
    bindings, kept = Bindings(), {}
    for path, template in mock.generated.items():
        pairs = pair_tokens(template, old[path], new[path]) if path in old and path in new else None
        if pairs is not None:
            kept[path] = template
            for name, recorded, came in pairs:  # whatever binds them in a run
                bindings.bind(recorded, came, instance_class(name))
    request = bindings.to_recorded(request)
    settled = world.settle_call(mock, request, made)
    changed = {path for path, value in _leaves(world, mock, request).items()
               if path not in old or not is_same(value, old[path])}  # fmt: skip
    fresh = {path: one for path, one in settled.items() if path in changed and path not in kept}
    world.amended.put_mock(replace(mock, request=request, generated=kept | fresh))


def _accept_more(world: World, call: FoundCall, case: str | None) -> None:
    answer = _find(world, call.answer)
    owner = world.amended.find_case(case) if case is not None else None
    if owner is None or answer is None or call.request is None:
        raise CannotAcceptError("it belongs to no case: record anew")
    for _ in range(call.count):
        world.amended.add_mock(_copy(answer, call.request, owner), owner.name)


def _copy(answer: Mock, request: Document, case: TestCase) -> Mock:
    """Of no connection that was recorded, so of no transaction."""
    timing = answer.timing if answer.case == case.name else case.timing
    return replace(
        answer,
        request=request,
        case=case.name,
        candidates=[],
        tier=Tier.CASE,
        connection=0,
        evidence=Evidence.TIME,
        timing=Timing(timing.start_ns, timing.end_ns),
    )


def _find(world: World, name: str | None) -> Mock | None:
    return world.amended.mock(name) if name is not None else None


def _leaves(world: World, mock: Mock, request: Document) -> Leaves:
    return leaves_of(world.get_spec(mock.protocol).identity(request))
