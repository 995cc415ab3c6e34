"""Makes a test case of a request and its decided calls, and mocks of calls."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from kebpf.recording.activity import Inbound, Outbound, ProtocolFinder, Viewer
from kebpf.recording.casefile import write_head, write_middle, write_tail
from kebpf.recording.intake import Intake
from kebpf.recording.model import Mock, TestCase, Tier, Timing
from kebpf.recording.naming import NameGiver, name_request, name_route_of
from kebpf.recording.provenance import CaseProvenance, Provenance
from kebpf.recording.times import UNHURRIED_NS, Window
from kebpf.recording.values import list_texts

HTTP = "http"
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
        self.case.calls = [call.name for call in self.calls if call.name is not None]
        return write_head(self.case) + self.middle + write_tail(self.case)


class CaseMaker:
    """Turns what was decided into test cases and mocks, names and provenance included."""

    def __init__(
        self, find_protocol: ProtocolFinder, provenance: Provenance, names: NameGiver
    ) -> None:
        self._viewer = Viewer(find_protocol)
        self._provenance = provenance
        self._names = names
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
        exchange = request.recorded.exchange
        case = TestCase(
            name=name_request(exchange.request),
            protocol=exchange.protocol,
            request=exchange.request,
            response=request.recorded.exchange.response,
            endpoint=request.recorded.local,
            timing=Timing(request.start_ns, request.end_ns),
            order=self._order + 1,
        )
        provenance = self._settle(request)
        case.generated, case.strength = provenance.response, provenance.strength
        middle = write_middle(case)  # raises before a name or a number is given away
        self._order += 1
        request.name = case.name = self._names.give(case.name)
        calls = sorted(request.answers, key=_start_of)
        return PreparedCase(case, middle, calls, request)

    def make_mock(self, call: Outbound) -> Mock:
        """The mock of a call whose requests are resolved."""
        self._mock_number += 1
        call.name = f"mock-{self._mock_number:06}"
        exchange = call.recorded.exchange
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
            generated=self._generated_of(call),
            calls=exchange.calls,
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
