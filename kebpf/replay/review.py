"""The differences of a run one by one, and the test set with those that a person accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import ProtocolSpec
from kebpf.recording.amendment import AmendedSet, Original
from kebpf.recording.casefile import fingerprint_case
from kebpf.recording.exact import unpack_exact
from kebpf.recording.model import TestCase
from kebpf.recording.times import Window
from kebpf.replay.accepting import Accepting, CannotAcceptError, accept_response
from kebpf.replay.acceptingcalls import FoundCall, accept_call, find_echo, why_not
from kebpf.replay.events import CallFinding, Exact, Mismatch, MissKind, Revision
from kebpf.replay.noise import Noise
from kebpf.replay.observations import resolve
from kebpf.replay.patching import is_of_whole_body
from kebpf.replay.world import World

Entry = dict[str, Any]

_CHANGED = "the case was changed since that run: run it again"
_GONE = "the test set has no such case any more"
_FOLLOWS = "it was answered without the answer to a call: accept or mend that, and run it again"
_OUTSIDE = "calls belong to no one case"


class NoReviewError(ValueError):
    """The run says too little to be reviewed; the text is one sentence."""


@dataclass(slots=True)
class Item:
    """One thing to decide: differences of a response that go together, or one call.

    ``problem`` says why it cannot be accepted, ``note`` what is to be known before.
    """

    case: str | None
    request: str
    mismatches: list[Mismatch] = field(default_factory=list)
    finding: CallFinding | None = None
    operation: str = ""  # of the call, whole
    problem: str | None = None
    note: str | None = None
    revision: Revision | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same difference in another run of the same version."""
        paths = [f"{one.kind} {one.path}" for one in self.mismatches]
        call = [self.finding.kind, self.finding.call] if self.finding is not None else []
        return self.case or "", *paths, *call

    @property
    def is_call(self) -> bool:
        """Whether it is about an outgoing call."""
        return self.finding is not None


class Review:
    """The differences of one test set in one run."""

    def __init__(
        self,
        original: Original,
        entries: Iterable[Entry],
        findings: Iterable[Entry],
        get_spec: Callable[[str], ProtocolSpec],
        noise: Noise | None = None,
    ) -> None:
        """Raises `NoReviewError`."""
        self._original = original
        self._get_spec = get_spec
        self._noise = noise
        self._world = World(AmendedSet(original), get_spec)
        self.items = [item for entry in entries for item in self._read_case(entry)]
        self.items += self._read_outside(findings)

    def _read_case(self, entry: Entry) -> Iterator[Item]:
        if entry["verdict"] not in ("failed", "errored"):
            return
        name, request = str(entry["case"]), str(entry.get("request", ""))
        case = self._world.amended.find_case(name)
        if entry["verdict"] == "errored":
            yield Item(name, request, problem=str(entry.get("error") or "it could not be run"))
            return
        revision = _read_revision(entry)
        problem = _GONE if case is None else None
        if case is not None and entry["recorded"] != fingerprint_case(case):
            problem = _CHANGED
        findings = [_read_finding(one) for one in entry.get("calls") or []]
        is_lost = any(one.is_unanswered for one in findings)
        for finding in sorted(findings, key=lambda one: not one.is_unanswered):
            item = Item(name, request, finding=finding, revision=revision)
            self._judge_call(item, finding, problem, is_lost)
            yield item
        mismatches = [_read_mismatch(one) for one in entry.get("mismatches") or []]
        for unit in _group(case, mismatches):
            follows = _FOLLOWS if is_lost else None
            yield Item(name, request, unit, problem=problem or follows, revision=revision)

    def _judge_call(
        self, item: Item, finding: CallFinding, problem: str | None, is_lost: bool
    ) -> None:
        call = _to_found(finding)
        if call.request is not None:
            identity = self._get_spec(finding.protocol).identity(call.request)
            item.operation = str(identity.get("operation", ""))
        item.problem = problem or why_not(self._world, call)
        if item.problem is None and is_lost and not finding.is_unanswered:
            item.problem = _FOLLOWS  # perhaps it was not made because of the error
        if item.problem is None and finding.kind == "changed":
            echo = find_echo(self._world, call)
            item.note = "its answer stays as it was recorded" + (
                f", and holds {echo!r}: record anew if that follows from it" if echo else ""
            )

    def _read_outside(self, findings: Iterable[Entry]) -> Iterator[Item]:
        for one in findings:
            finding = _read_finding(one)
            item = Item(None, _OUTSIDE, finding=finding)
            item.problem = why_not(self._world, _to_found(finding))
            if item.problem is None and finding.kind != "missing":
                item.problem = "it belongs to no case: record anew"
            yield item

    def check(self, item: Item, accepted: Sequence[Item]) -> None:
        """Whether it can be accepted beside what already is.  Raises `CannotAcceptError`."""
        if item.problem is not None:
            raise CannotAcceptError(item.problem)
        if not item.is_call:
            together = [one for one in accepted if one.case == item.case and not one.is_call]
            self._accept_response(self._world, [*together, item])

    def amend(self, accepted: Sequence[Item]) -> AmendedSet:
        """The test set as it is to be.  Raises `CannotAcceptError`."""
        amended = AmendedSet(self._original)
        world = World(amended, self._get_spec)
        responses: dict[str, list[Item]] = {}
        for item in accepted:
            if item.finding is not None:
                made = _window_of(item.revision)
                accept_call(world, _to_found(item.finding), item.case, made)
            else:
                responses.setdefault(str(item.case), []).append(item)
        for items in responses.values():
            amended.put_case(self._accept_response(world, items))
        return amended

    def _accept_response(self, world: World, items: Sequence[Item]) -> TestCase:
        first = items[0]
        case = world.amended.case(str(first.case))
        accepted = [one for item in items for one in item.mismatches]
        every = [
            one
            for item in self.items
            if item.case == first.case and not item.is_call
            for one in item.mismatches
        ]
        rest = [one for one in every if not any(one is other for other in accepted)]
        if first.revision is None:
            raise CannotAcceptError("the run did not keep the response: run it again")
        view = world.view(case)
        unbound = frozenset(
            str(one.place) for one in accepted if one.place and _is_as_recorded(view, one)
        )
        what = Accepting(case, accepted, rest, first.revision, unbound)
        return accept_response(world, what, self._noise)


def _group(case: TestCase | None, mismatches: Sequence[Mismatch]) -> list[list[Mismatch]]:
    """Each alone, but for those that stand for one text or one kind of body; a status first."""
    if case is None or "headers" not in case.response:
        return [list(mismatches)] if mismatches else []
    whole = any(is_of_whole_body(case, one) for one in mismatches)
    body = [one for one in mismatches if whole and _is_about_body(case, one)]
    units: dict[str, list[Mismatch]] = {}
    for one in mismatches:
        if not any(one is other for other in body):
            units.setdefault(_name_unit(one), []).append(one)
    return sorted(
        [*units.values(), *([body] if body else [])], key=lambda unit: unit[0].path != "/status"
    )


def _name_unit(mismatch: Mismatch) -> str:
    """Equal for what cannot be decided apart: items that an array has more or less, one header."""
    path = mismatch.path
    if path.startswith(("/headers/", "/trailers/")):
        return "/".join(path.split("/")[:3])
    parent, _, last = path.rpartition("/")
    is_item = mismatch.kind in ("missing", "extra") and last.isdigit()
    return f"{parent} {mismatch.kind}" if is_item else path


def _is_about_body(case: TestCase, mismatch: Mismatch) -> bool:
    return mismatch.path.startswith("/body") or is_of_whole_body(case, mismatch)


def _is_as_recorded(view: Any, mismatch: Mismatch) -> bool:
    """Whether the value was expected as it was recorded, so that it is bound to no other."""
    try:
        return bool(_plain(resolve(view, str(mismatch.place))) == mismatch.expected)
    except LookupError:
        return False


def _plain(tree: Any) -> Any:
    """As a run file shows it."""
    if isinstance(tree, bytes):
        return tree.decode(errors="replace")
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    return [_plain(item) for item in tree] if isinstance(tree, list | tuple) else tree


def _read_mismatch(one: Entry) -> Mismatch:
    return Mismatch(
        str(one["path"]), str(one["kind"]), one.get("expected"), one.get("actual"), one.get("place")
    )


def _read_finding(one: Entry) -> CallFinding:
    request = one.get("request")
    return CallFinding(
        kind=str(one["kind"]),
        protocol=str(one.get("protocol", "")),
        destination=str(one.get("destination", "")),
        call=str(one.get("call", "")),
        miss=MissKind(one["miss"]) if one.get("miss") else None,
        nearest=one.get("nearest"),
        fields=[_read_mismatch(each) for each in one.get("fields") or []],
        count=int(one.get("count", 1)),
        recorded=one.get("recorded"),
        made=one.get("made"),
        note=one.get("note"),
        examples=list(one.get("examples") or []),
        is_read=bool(one.get("is_read")),
        operation=str(one.get("operation", "")),
        mock=one.get("mock"),
        request=None if request is None else Exact(unpack_exact(request)),
        is_unanswered=bool(one.get("is_unanswered")),
        answer=one.get("answer"),
    )


def _read_revision(entry: Entry) -> Revision | None:
    """Raises `NoReviewError` where the run was written without it."""
    if "recorded" not in entry or "revision" not in entry:
        raise NoReviewError("the run was written by an older kebpf: run it again")
    told = entry["revision"]
    if told is None:
        return None
    response = told.get("response")
    return Revision(
        None if response is None else Exact(unpack_exact(response)),
        int(told["start_ns"]),
        int(told["end_ns"]),
        int(told["shift_ns"]),
    )


def _to_found(finding: CallFinding) -> FoundCall:
    return FoundCall(
        finding.kind,
        finding.mock,
        None if finding.request is None else finding.request.tree,
        finding.answer,
        finding.is_unanswered,
        finding.count,
    )


def _window_of(revision: Revision | None) -> Window:
    return Window(0, 0) if revision is None else Window(revision.start_ns, revision.end_ns)
