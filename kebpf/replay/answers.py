"""Answers the server sessions of one destination and says why when there is no answer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from kebpf.protocols.base import Document, Miss, ProtocolSpec
from kebpf.recording.model import Endpoint, Mock, Tier, Tls
from kebpf.replay.binding import Bindings
from kebpf.replay.call import Call, is_read_operation, is_same, make_call
from kebpf.replay.equality import answer_of
from kebpf.replay.events import Mismatch, MissKind
from kebpf.replay.index import MOST_VERIFIED, MockIndex, Recorded, key_of
from kebpf.replay.kept import KeptRequests
from kebpf.replay.noise import Noise
from kebpf.replay.opened import OpenedNow
from kebpf.replay.strays import Stray, list_differences, name_some
from kebpf.replay.trail import Ended, Trail

MOST_REASON = 400  # characters of a miss's one line


class Book(Protocol):
    """The matcher, as the answers of one destination use it."""

    bindings: Bindings
    index: MockIndex
    noise: Noise
    opened: OpenedNow

    def kept_at(self, endpoint: Endpoint, protocol: str, /) -> KeptRequests: ...
    def get_spec(self, name: str, /) -> ProtocolSpec: ...
    def find(self, call: Call) -> Recorded | None: ...
    def is_due(self, call: Call) -> bool: ...
    def find_known(self, call: Call) -> list[Recorded]: ...
    def has_one_answer(self, call: Call, known: list[Recorded]) -> bool: ...
    def find_elsewhere(self, call: Call) -> Recorded | None: ...
    def race(self, call: Call) -> bool: ...
    def find_plain(self, call: Call) -> Recorded | None: ...
    def note_cached(self, call: str) -> None: ...
    def find_nearest(self, call: Call) -> Recorded | None: ...
    def count_made(self, known: Sequence[Recorded]) -> int: ...
    def name_users(self, known: Sequence[Recorded]) -> list[str]: ...
    def session_mock(self, call: Call) -> Recorded | None: ...
    def serve(self, item: Recorded, call: Call) -> Document | None: ...
    def use(self, item: Recorded) -> Document | None: ...
    def respond(self, item: Recorded) -> Document | None: ...
    def mark_used(self, item: Recorded) -> None: ...
    def note_stray(self, stray: Stray) -> None: ...
    def borrow(self, stray: Stray, item: Recorded) -> bool: ...
    def note_ending(self, protocol: str, endpoint: Endpoint, ended: Ended, /) -> None: ...
    def note_call(self, call: Call, item: Recorded | None) -> None: ...
    def note_answer(self) -> None: ...
    def count_miss(self, call: Call, miss: Miss) -> None: ...
    def name_of_case(self) -> str | None: ...


class DestinationAnswers:
    """An `Answerer` for one connection to a destination."""

    def __init__(
        self, book: Book, endpoint: Endpoint, protocol: str, tls: Tls | None = None
    ) -> None:
        self._book = book
        self._endpoint = endpoint
        self._protocol = protocol
        self._trail = Trail()
        self._kept = book.kept_at(endpoint, protocol)
        self._tls = tls
        self._is_noted = False  # how it is encrypted: a connection without a call says nothing

    def find_request(self, source: Hashable) -> Document | None:
        """The request that was kept for ``source``."""
        return self._kept.find(source)

    def keep_request(self, source: Hashable, request: Document) -> None:
        """Keeps a request for all connections to the destination."""
        self._kept.keep(source, request)

    def answer(self, request: Document) -> Document | Miss:
        """The recorded response to a call; what is not as recorded becomes a finding."""
        call = self._make_call(request)
        if not self._is_noted:
            self._note_encryption()
        item = self._book.find(call)
        self._book.note_call(call, item)
        if item is None:
            response = self._answer_stray(call)
        else:
            response = self._book.serve(item, call)
            self._trail.note_served(item.ordinal)
        if response is None:
            response = Miss(f"{call.description} was recorded without a response"[:MOST_REASON])
        if isinstance(response, Miss):
            self._book.count_miss(call, response)
        self._book.note_answer()
        return response

    def peek(self, request: Document) -> bool:
        """Whether a mock with exactly this identity could be served; changes nothing."""
        call = self._make_call(request)
        return bool(self._book.find(call) or self._book.find_elsewhere(call))

    def is_due(self, request: Document) -> bool:
        """Whether a call that waits can be answered now; one that was never made is, with that."""
        return self._book.is_due(self._make_call(request))

    def session(self, request: Document) -> Document | None:
        """The recorded response to a session call, any number of times."""
        if request.get("kind") == "describe":
            return self._describe(request)
        call = self._make_call(request)
        ended = self._trail.follow(request)
        if ended is not None:
            self._book.note_ending(self._protocol, self._endpoint, ended)
        if not self._is_noted:
            self._note_encryption()
        self._book.opened.note(self._endpoint, self._protocol, request)
        item = self._book.session_mock(call)
        self._book.note_answer()
        if item is None:
            return None
        self._book.mark_used(item)
        return self._book.respond(item)

    def _note_encryption(self) -> None:
        self._is_noted = True
        self._book.opened.note_encryption(self._endpoint, self._protocol, self._tls)

    def _describe(self, request: Document) -> Document | None:
        """Columns and parameter types of a statement that was recorded in any form."""
        sql = self._book.bindings.to_recorded(request.get("sql"))
        database = request.get("database")
        mock = self._book.index.find_described(self._endpoint, str(sql), database)
        if mock is None or mock.response is None:
            return None
        if mock.request.get("kind") == "describe":
            return mock.response
        results = mock.response.get("results") or [{}]
        error = mock.response.get("error")
        if error and error.get("position") and not mock.response.get("results"):
            # only what is found while a statement is parsed tells its place in it
            return {"columns": None, "parameter_types": [], "error": error, "call": mock.request}
        types = mock.response.get("parameter_types") or mock.request.get("parameter_types") or []
        columns, copy = results[0].get("columns"), results[0].get("copy")
        return {"columns": columns, "parameter_types": types, "copy": copy}

    def _make_call(self, request: Document) -> Call:
        book, place, version = self._book, self._endpoint, self._book.bindings.version
        call = self._kept.find_call(request, version)
        if call is None:
            spec, is_vague = book.get_spec(self._protocol), place in book.index.vague
            call = make_call(place, spec, request, book.bindings, book.noise, is_vague)
            if not book.noise.is_about_calls:  # each call is counted by the rules it falls under
                self._kept.note_call(request, version, call)
        return call

    def _answer_stray(self, call: Call) -> Document | Miss | None:
        known = self._book.find_known(call)
        if known:
            return self._answer_repeated(call, known)
        elsewhere = self._book.find_elsewhere(call)
        if elsewhere is None:
            plain = self._book.find_plain(call)
            return self._miss(call) if plain is None else self._answer_plainly(plain, call)
        # Answered as recorded, so that the extra call shows and not the error it would cause.
        note = f"recorded in case {name_some(owners_of(elsewhere.mock))}"
        stray = self._make_stray(call, "extra", None, note=note)
        stray.answer = elsewhere.mock.name
        if not self._book.borrow(stray, elsewhere):
            self._note(stray)
        return self._book.respond(elsewhere)

    def _answer_plainly(self, plain: Recorded, call: Call) -> Document | None:
        self._book.note_cached(call.description)
        return self._book.use(plain)

    def _note(self, stray: Stray) -> None:
        self._trail.note_stray()
        self._book.note_stray(stray)

    def _make_stray(
        self, call: Call, kind: str, miss: MissKind | None, note: str | None = None
    ) -> Stray:
        stray = Stray(call, kind, miss, call.key(), note=note, is_read=_is_read(call))
        stray.request = self._book.bindings.tell(call.request)
        stray.is_unanswered = kind == "extra" and miss is not None
        return stray

    def _answer_repeated(self, call: Call, known: list[Recorded]) -> Document | Miss | None:
        """A read whose recorded answers were all the same can be answered once more."""
        if self._book.race(call):
            return self._book.respond(known[0])
        recorded = self._describe_use(known)
        stray = self._make_stray(call, "repeated", MissKind.USED_UP, recorded)
        stray.identity = key_of(known[0].mock, known[0].leaves)
        stray.recorded, stray.made = len(known), self._book.count_made(known)
        stray.mock = known[0].mock.name
        self._note(stray)
        if _is_read(call) and self._book.has_one_answer(call, known):
            stray.answer = known[0].mock.name
            return self._book.respond(known[0])
        stray.is_unanswered = True
        return Miss(f"recorded and used up: {call.description} ({recorded})"[:MOST_REASON])

    def _describe_use(self, known: list[Recorded]) -> str:
        """How often a call was recorded, for whom, and which other cases used it up."""
        more = " or more" if len(known) >= MOST_VERIFIED else ""
        times = "once" if len(known) == 1 else f"{len(known)} times{more}"
        mock, case = known[0].mock, self._book.name_of_case()
        if mock.tier is Tier.STARTUP:
            owner = "at the start"
        elif case is None:
            owner = "in all"
        elif any(item.mock.case is None for item in known):
            names = dict.fromkeys(name for item in known for name in owners_of(item.mock))
            owner = f"by one of the cases {name_some(names)}"
        else:
            owner = f"by case {case}"
        users = self._book.name_users(known)
        used = f", used up by {name_some(users)}" if users else ""
        return f"recorded {times} {owner}{used}"

    def _miss(self, call: Call) -> Miss:
        known = self._book.index.protocols
        if self._endpoint not in known:
            self._note(self._make_stray(call, "extra", MissKind.NEVER_RECORDED))
            names = ", ".join(sorted(map(str, known))) or "none"
            text = f"nothing was recorded at {self._endpoint}; recorded destinations: {names}"
            return Miss(text[:MOST_REASON])
        nearest = self._book.find_nearest(call)
        if nearest is None:
            self._note(self._make_stray(call, "extra", MissKind.NEVER_RECORDED))
            return Miss(f"never recorded: {call.description}"[:MOST_REASON])
        fields = list_differences(nearest, call)
        stray = self._make_stray(call, "extra", MissKind.DIFFERENT)
        stray.nearest, stray.fields, stray.mock = nearest.description, fields, nearest.mock.name
        self._note(stray)
        return Miss(_explain(call, nearest, fields))


def _explain(call: Call, nearest: Recorded, fields: list[Mismatch]) -> str:
    parts = [f"{m.path} was {_show(m.expected)}, is {_show(m.actual)}" for m in fields[:3]]
    more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
    differing = f"; {'; '.join(parts)}{more}" if parts else ""
    line = f"recorded but different: {call.description}; nearest: {nearest.description}{differing}"
    return line.replace("\n", " ")[:MOST_REASON]


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_read(call: Call) -> bool:
    return call.protocol == "dns" or is_read_operation(call.operation)


def owners_of(mock: Mock) -> list[str]:
    """The case, or the cases of which one, made a call."""
    return mock.candidates if mock.case is None else [mock.case]


def are_equal(items: Iterable[Recorded]) -> bool:
    """Whether all of the mocks, one at least, hold the same response."""
    answers = (answer_of(item.mock) for item in items)
    first = next(answers)
    return all(_is_equal(answer, first) for answer in answers)


def _is_equal(left: dict[str, object], right: dict[str, object]) -> bool:
    return left.keys() == right.keys() and all(is_same(left[p], right[p]) for p in left)
