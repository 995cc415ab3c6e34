"""What a recording knows of values: which were made in it, and where a new one came from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.amendment import AmendedSet
from kebpf.recording.intake import Intake
from kebpf.recording.model import Mock, TestCase, Timing
from kebpf.recording.provenance import Provenance
from kebpf.recording.templates import match_template
from kebpf.recording.times import Window
from kebpf.recording.values import text_of, walk_scalars

FRESH_ONLY = ("uuid1", "uuid6", "uuid7", "ulid", "ksuid", "objectid", "snowflake")


class World:
    """The provenance of a whole recording, gone through again for what was accepted."""

    def __init__(self, amended: AmendedSet, get_spec: Callable[[str], ProtocolSpec]) -> None:
        self.amended = amended
        self.get_spec = get_spec

    @cached_property
    def _provenance(self) -> Provenance:
        provenance = Provenance()
        for case in self.amended.cases():
            self._settle(provenance, case, self.view(case), _window_of(case.timing))
        return provenance

    @cached_property
    def tokens(self) -> dict[str, str]:
        """Every generated value of the recording with its class."""
        found: dict[str, str] = {}
        for case in self.amended.cases():
            found |= find_made(self.view(case), case.generated)
        for mock in self.amended.iter_mocks():
            if mock.generated:
                found |= find_made(self.get_spec(mock.protocol).identity(mock.request),
                                   mock.generated)  # fmt: skip
        return found

    def view(self, case: TestCase) -> Any:
        """The recorded response as it is compared."""
        return self.get_spec(case.protocol).view(case.response)

    def view_answer(self, mock: Mock) -> Any:
        """What a call was answered with; ``None`` if nothing was recorded."""
        answer = mock.response
        return None if answer is None else self.get_spec(mock.protocol).view(answer)

    def inputs_of(self, case: TestCase) -> list[str]:
        """The texts, in lower case, that came in with a case and that its calls were made of."""
        spec = self.get_spec(case.protocol)
        trees: list[Any] = [spec.view(case.request), self.view(case)]
        for mock in self._mocks_of(case):
            of_mock = self.get_spec(mock.protocol)
            trees += [of_mock.identity(mock.request), self.view_answer(mock)]
        return [text for tree in trees for text in Intake(tree).texts]

    def settle_response(self, case: TestCase, view: Any, made: Window) -> dict[str, str]:
        """The templates for a new response; ``made`` is when it really was made."""
        recorded = self._settle(self._provenance, case, view, _window_of(case.timing))
        fresh = self._settle(self._provenance, case, view, made)
        return _add_fresh(recorded, fresh)

    def settle_call(self, mock: Mock, request: Document, made: Window) -> dict[str, str]:
        """The templates for the call of a mock that is made with other values now."""
        spec = self.get_spec(mock.protocol)
        identity, answer = spec.identity(request), self.view_answer(mock)
        owner = self.amended.find_case(mock.case) if mock.case else None
        views = [] if owner is None else [self.get_spec(owner.protocol).view(owner.request)]
        views += [
            self.view_answer(one)
            for one in (self._mocks_of(owner) if owner else ())
            if one.timing.end_ns <= mock.timing.start_ns
        ]
        both = [
            self._provenance.settle_call(identity, answer, window, views)
            for window in (_window_of(mock.timing), made)
        ]
        return _add_fresh(both[0], both[1])

    def _mocks_of(self, case: TestCase) -> list[Mock]:
        found = (self.amended.mock(name) for name in case.calls)
        return [mock for mock in found if mock is not None]

    def _settle(
        self, provenance: Provenance, case: TestCase, view: Any, window: Window
    ) -> dict[str, str]:
        calls, windows = [], []
        for mock in self._mocks_of(case):
            spec = self.get_spec(mock.protocol)
            calls.append((spec.identity(mock.request), self.view_answer(mock)))
            windows.append(_window_of(mock.timing))
        request = self.get_spec(case.protocol).view(case.request)
        return provenance.settle(request, calls, view, window, windows).response


def find_made(view: Any, generated: dict[str, str]) -> dict[str, str]:
    """The generated values in a tree, each with its class."""
    found: dict[str, str] = {}
    scalars = dict(walk_scalars(view)) if generated else {}
    for path, template in generated.items():
        text = text_of(scalars.get(path))
        matched = match_template(template, text) if text is not None else None
        found.update({token: name for name, token in matched or ()})
    return found


def _add_fresh(recorded: dict[str, str], fresh: dict[str, str]) -> dict[str, str]:
    """Ids that hold the time of their making are new by the time when they were really made."""
    result = dict(recorded)
    for path, template in fresh.items():
        if path not in result and any(f"{{{name}}}" in template for name in FRESH_ONLY):
            result[path] = template
    return result


def _window_of(timing: Timing) -> Window:
    return Window(timing.start_ns, timing.end_ns)
