"""Makes a test case of a request and its decided calls, and mocks of calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from kebpf.recording.activity import Inbound, Memory, Outbound, ProtocolFinder, Viewer
from kebpf.recording.casefile import write_head, write_middle, write_tail
from kebpf.recording.intake import Intake
from kebpf.recording.model import Mock, RecordedExchange, TestCase, Tier, Timing
from kebpf.recording.naming import NameGiver, name_request, name_route_of
from kebpf.recording.provenance import CaseProvenance, Provenance
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.redaction.templates import adapt_templates
from kebpf.recording.times import UNHURRIED_NS, Window
from kebpf.recording.values import list_texts

HTTP = "http"
LEAST_REFUSAL = 400  # the status of a response that let nobody in with a password
REFUSALS = (401, 407)  # those that let nobody in with any credential (RFC 9110, 15.5)
MOST_GIVEN = 4_000  # credentials of which it is known who was given them first
UNPROVED = (
    "it sends a password that the program checks against a hash, and redaction could not make "
    "that anew"
)
UNKNOWN_CREDENTIAL = (
    "it was let in by a credential that was redacted and that the program seems to check by "
    "itself, so it would be refused"
)
NOT_GIVEN = (
    "it was let in by a credential that was redacted and that only a case which is not run can "
    "give it anew"
)
LEAST_TEXT = 8  # characters of a text that the program sent and that may teach something
MOST_TEXT = 1024


@dataclass(slots=True, eq=False)
class PreparedCase:
    """A case that is only short of the names of its mocks."""

    case: TestCase
    middle: str
    calls: list[Outbound]
    request: Inbound

    @property
    def is_ready(self) -> bool:
        return all(call.name is not None for call in self.calls)

    def write(self) -> str:
        """The whole file; its mocks have their names by now."""
        self.case.is_kept_open = self.request.is_followed
        self.case.needs = [one.name for one in self.request.makers if one.name is not None]
        self.case.calls = [call.name for call in self.calls if call.name is not None]
        return write_head(self.case) + self.middle + write_tail(self.case)


class CaseMaker:
    """Turns what was decided into test cases and mocks, names and provenance included."""

    def __init__(
        self,
        find_protocol: ProtocolFinder,
        provenance: Provenance,
        names: NameGiver,
        redactor: Redactor | None = None,
    ) -> None:
        self._find_protocol = find_protocol
        self._redactor = redactor
        self._viewer = Viewer(find_protocol)
        self._provenance = provenance
        self._names = names
        self._given: Memory[str, Inbound] = Memory(MOST_GIVEN)  # credentials by who gave them
        self._order = 0
        self._mock_number = 0

    def learn_request(self, request: Inbound) -> None:
        """Takes a complete request before it is settled: of short values only many tell."""
        if request.recorded is None or request.recorded.exchange.problem:
            return
        exchange, views = request.recorded.exchange, self._viewer.see(request)
        self._provenance.slugs.take(views.request_intake.texts, request.start_ns)
        if exchange.response_start is not None:
            origin = name_route_of(exchange.request)
            self._learn_sent(origin, views.response, exchange.response_start.time_ns)

    def learn_call(self, call: Outbound) -> None:
        """Takes a complete call likewise."""
        if call.is_session or call.recorded.exchange.problem:
            return
        views = self._viewer.see(call)
        self._learn_sent(self._viewer.name_operation(call), views.identity, call.start_ns)
        if call.recorded.exchange.response is not None:
            self._provenance.slugs.take(views.response_intake.texts, call.end_ns)

    def _learn_sent(self, origin: Hashable, tree: Any, time_ns: int) -> None:
        texts = list_texts(tree, LEAST_TEXT, MOST_TEXT)
        self._provenance.slugs.learn(origin, texts, time_ns)
        self._provenance.fractions.learn(texts)

    def find_problem(self, request: Inbound) -> str | None:
        """Why a request cannot become a test case, or ``None``."""
        if request.problem is not None:
            return request.problem
        if request.recorded is None or request.recorded.exchange.response is None:
            return "no response was seen"
        for call in request.answers:
            if call.recorded.exchange.problem:
                return f"a call it made cannot be replayed: {call.recorded.exchange.problem}"
        for call in request.doubtful:
            if call.recorded.exchange.problem:
                return f"a call it may have made cannot be replayed: {_problem_of(call)}"
        return None

    def prepare(self, request: Inbound) -> PreparedCase:
        """Makes the case of a request without a problem.

        Raises ``ValueError`` when it cannot be stored.
        """
        assert request.recorded is not None and request.recorded.exchange.response is not None
        provenance = self._settle(request)
        recorded, generated = self._redact_request(request, provenance.response)
        exchange = recorded.exchange
        case = TestCase(
            name=name_request(exchange.request),
            protocol=exchange.protocol,
            request=exchange.request,
            response=exchange.response or {},
            endpoint=request.recorded.local,
            timing=Timing(request.start_ns, request.end_ns),
            order=self._order + 1,
            tls=request.recorded.tls,
        )
        case.generated, case.strength = generated, provenance.strength
        middle = write_middle(case)  # raises before a name or a number is given away
        self._order += 1
        request.name = case.name = self._names.give(case.name)
        calls = sorted(request.answers, key=_start_of)
        return PreparedCase(case, middle, calls, request)

    def make_mock(self, call: Outbound) -> Mock:
        """The mock of a call whose requests are resolved."""
        self._mock_number += 1
        call.name = f"mock-{self._mock_number:06}"
        recorded, generated = self._redact_call(call)
        exchange = recorded.exchange
        tier = tier_of(call)
        kept = [request.name for request in call.candidates if request.name is not None]
        return Mock(
            name=call.name,
            protocol=exchange.protocol,
            destination=call.destination,
            request=exchange.request,
            response=exchange.response,
            timing=Timing(call.start_ns, call.end_ns),
            tier=tier,
            connection=call.recorded.connection,
            case=None if call.case is None else call.case.name,
            candidates=kept if tier is not Tier.SESSION and call.case is None else [],
            evidence=call.evidence,
            generated=generated,
            calls=exchange.calls,
            tls=call.recorded.tls,
        )

    def _generated_of(self, call: Outbound) -> dict[str, str]:
        if call.is_session:
            return {}
        if call.generated is None:
            views = self._viewer.see(call)
            window = Window(call.start_ns - UNHURRIED_NS, call.end_ns)
            made = Window(call.start_ns, call.end_ns)
            call.generated = self._provenance.settle_call(
                views.identity, views.response_intake, window, made=made
            )
        return call.generated

    def without_secrets(self, tree: dict[str, Any]) -> dict[str, Any]:
        """What is said of exchanges elsewhere."""
        redacted: dict[str, Any] = tree
        if self._redactor is not None:
            redacted = self._redactor.redact_tree(tree)
        return redacted

    def _redact_request(
        self, request: Inbound, generated: dict[str, str]
    ) -> tuple[RecordedExchange, dict[str, str]]:
        """What of a request and its response may be written, and the templates for it."""
        assert request.recorded is not None
        redactor = self._redactor
        if redactor is None:
            return request.recorded, generated
        calls = [call.recorded for call in request.answers]
        self._note_checks(redactor, request, calls)
        request.echoes = redactor.list_common([request.recorded, *calls])
        redacted = redactor.redact(request.recorded, request.echoes)
        for value in redacted.given:
            if value not in self._given:
                self._given.put(value, request)
        before, after = request.recorded.exchange, redacted.recorded.exchange
        if after.response is before.response:
            return redacted.recorded, generated
        for call in calls:  # what came in with their answers is not the program's own
            redactor.redact(call, request.echoes)
        shown = self._find_protocol(before.protocol).view(after.response or {})
        seen = self._viewer.see(request).response
        adapted = adapt_templates(redactor, generated, seen, shown, redacted.sent)
        return redacted.recorded, adapted

    def _note_checks(
        self, redactor: Redactor, request: Inbound, calls: list[RecordedExchange]
    ) -> None:
        """Notes what the program may have checked by itself, so that what is written would fail."""
        assert request.recorded is not None
        is_open = redactor.prove(request.recorded, calls)
        status = (request.recorded.exchange.response or {}).get("status", 0)
        request.is_unproved = is_open and status < LEAST_REFUSAL
        request.is_refused = status in REFUSALS
        request.credentials = redactor.list_credentials(request.recorded)

    def find_needs(self, request: Inbound) -> None:
        """Notes whose responses gave a request what the program checks by itself.

        Called when its calls are written, so that it is known what the program asked others for.
        """
        redactor = self._redactor
        for value in request.credentials if redactor is not None else ():
            assert redactor is not None
            if redactor.was_asked(value) and not redactor.is_signed(value):
                continue
            maker = self._given.get(value)
            if maker is None:
                request.is_orphan |= redactor.was_made(value)
            elif maker not in request.makers:
                request.makers.append(maker)

    def find_doubt(self, request: Inbound, is_kept: Callable[[str], bool]) -> str | None:
        """Why the case of a request would fail at replay, as far as all of the recording tells.

        ``is_kept`` says whether there is a case of that name.
        """
        redactor = self._redactor
        if redactor is None:
            return None
        if request.is_unproved:
            return UNPROVED
        is_known = all(map(redactor.is_known_elsewhere, request.credentials))
        if not (is_known or request.is_refused):
            return UNKNOWN_CREDENTIAL
        if request.is_orphan:
            return NOT_GIVEN
        for maker in request.makers:
            if not is_kept(maker.name or "") or self.find_doubt(maker, is_kept) is not None:
                return NOT_GIVEN
        return None

    def _redact_call(self, call: Outbound) -> tuple[RecordedExchange, dict[str, str]]:
        """What of a call may be written, and the templates for its identity."""
        generated, redactor = self._generated_of(call), self._redactor
        if redactor is None:
            return call.recorded, generated
        echoes = set().union(*(one.echoes for one in call.candidates))
        redacted = redactor.redact(call.recorded, echoes)
        before, after = call.recorded.exchange, redacted.recorded.exchange
        if after.request is before.request or call.is_session:
            return redacted.recorded, generated
        identity = self._find_protocol(before.protocol).identity(after.request)
        known = self._viewer.see(call).identity
        return redacted.recorded, adapt_templates(
            redactor, generated, known, identity, redacted.sent
        )

    def _settle(self, request: Inbound) -> CaseProvenance:
        """Settles the values of a case and of its calls, in the order of their making.

        The answers to calls that only may be its own count as inputs; what such a call holds
        itself is settled before, with the inputs of every request that may have made it.
        """
        open_calls = [call for call in request.doubtful if call.case is None]
        for call in sorted(open_calls, key=_start_of):
            if call.generated is None:
                call.generated = self._settle_open(call)
        calls = sorted((*request.answers, *open_calls), key=_start_of)
        views = [self._viewer.see(call) for call in calls]
        own = self._viewer.see(request)
        result = self._provenance.settle(
            own.request_intake,
            [
                (one.identity if call.case is request else None, one.response_intake)
                for call, one in zip(calls, views, strict=True)
            ],
            own.response,
            Window(request.start_ns, request.end_ns),
            [Window(call.start_ns, call.end_ns) for call in calls],
        )
        for call, generated in zip(calls, result.calls, strict=True):
            if call.case is request:
                call.generated = generated
        return result

    def _settle_open(self, call: Outbound) -> dict[str, str]:
        requests = [one for one in call.candidates if one.recorded is not None]
        views = self._viewer.see(call)
        window = Window(
            min((one.start_ns for one in requests), default=call.start_ns),
            max((one.end_ns for one in requests), default=call.end_ns),
        )
        inputs = [taken for one in requests for taken in self._inputs_before(one, call.start_ns)]
        made = Window(call.start_ns, call.end_ns)
        answer = views.response_intake
        return self._provenance.settle_call(views.identity, answer, window, inputs, made)

    def _inputs_before(self, request: Inbound, time_ns: int) -> list[Intake]:
        """What had come in with a request by then: itself, and the answers to its calls."""
        intakes = []
        if request.recorded is not None:
            intakes.append(self._viewer.see(request).request_intake)
        for call in (*request.answers, *request.doubtful):
            if call.end_ns <= time_ns:
                intakes.append(self._viewer.see(call).response_intake)
        return intakes


def tier_of(call: Outbound) -> Tier:
    """Where the mock of a call belongs, once its requests are resolved."""
    if call.is_session:
        return Tier.SESSION
    if call.case is not None:
        return Tier.CASE
    if call.candidates and all(request.name is not None for request in call.candidates):
        return Tier.CASE
    return Tier.STARTUP if call.is_startup else Tier.BACKGROUND


def belongs_to_left_out(call: Outbound) -> bool:
    """Whether every request that can have made the call was kept out of the test set."""
    if call.is_session or not call.candidates:
        return False
    return all(request.name is None for request in call.candidates)


def _problem_of(call: Outbound) -> str | None:
    return call.recorded.exchange.problem


def _start_of(call: Outbound) -> int:
    return call.start_ns
