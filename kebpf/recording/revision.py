"""A test set with changes that are not on the disk yet: classes found, cases set apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from kebpf.recording.loose import PERMUTATION
from kebpf.recording.model import Manifest, Mock, TestCase, Tier


class Original(Protocol):
    """The test set as it was read."""

    @property
    def manifest(self) -> Manifest: ...
    def cases(self) -> Iterable[TestCase]: ...
    def apart(self) -> Iterable[TestCase]: ...
    def iter_mocks(self) -> Iterator[tuple[int, Mock]]: ...
    def mock_at(self, offset: int) -> Mock: ...


@dataclass(frozen=True, slots=True)
class Place:
    """One value of a recording: of a case's response or, with ``is_call``, of a mock's call.

    ``owner`` is the case's or mock's name, ``path`` as in its ``generated``.
    """

    owner: str
    path: str
    is_call: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A class that verification found for a place: what was asserted before (``None``: the very
    value), what is now, and in how many values and runs it was seen."""

    place: Place
    case: str | None
    before: str | None
    template: str
    values: int
    runs: int
    examples: tuple[str, ...] = ()


class RevisedSet:
    """Gives cases and mocks as they are to be; the original stays as it is.

    Cases are held in memory, of mocks only their names and what was changed in them.
    """

    __test__: ClassVar[bool] = False

    def __init__(self, original: Original) -> None:
        self._original = original
        self.manifest = replace(
            original.manifest, set_apart=dict(original.manifest.set_apart), verified={}
        )
        both = [*original.cases(), *original.apart()]
        self._cases = {case.name: _copy(case) for case in both}
        self._owners = {mock.name: _Owner(mock) for _, mock in original.iter_mocks()}
        self.mocks: dict[str, dict[str, str]] = {}  # name → generated, where it was changed
        self.changed: set[str] = set()  # names of cases
        self.findings: list[Finding] = []

    def cases(self) -> list[TestCase]:
        """Those that are run, in the order of the recording."""
        return [case for case in self._cases.values() if case.set_apart is None]

    def apart(self) -> list[TestCase]:
        """Those that are kept but not run."""
        return [case for case in self._cases.values() if case.set_apart is not None]

    def case(self, name: str) -> TestCase:
        """The case of a name."""
        return self._cases[name]

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock as it is to be, with its offset in the original."""
        return ((offset, self.revise(mock)) for offset, mock in self._original.iter_mocks())

    def mock_at(self, offset: int) -> Mock:
        """The mock at an offset of the original, as it is to be."""
        return self.revise(self._original.mock_at(offset))

    def template_at(self, place: Place) -> str | None:
        """What is asserted of a place by class, ``None``: the very value."""
        return self._generated(place).get(place.path)

    def case_of(self, place: Place) -> str | None:
        """The case a place belongs to; ``None`` for a call of no one case."""
        return self._owners[place.owner].case if place.is_call else place.owner

    def tier_of(self, mock_name: str) -> Tier:
        """The tier of a mock."""
        return self._owners[mock_name].tier

    def generalise(self, finding: Finding) -> None:
        """Asserts a template from now on, and remembers how it was found."""
        place = finding.place
        if place.is_call:
            self.mocks[place.owner] = self._generated(place) | {place.path: finding.template}
        else:
            self._cases[place.owner].generated[place.path] = finding.template
        self.findings = [one for one in self.findings if one.place != place]
        self.findings.append(finding)
        if finding.case is not None:
            self._note_in_case(self._cases[finding.case], finding)

    def _note_in_case(self, case: TestCase, finding: Finding) -> None:
        entry = describe_finding(finding)
        where = (entry["in"], entry["path"])
        case.verified = [one for one in case.verified if (one.get("in"), one.get("path")) != where]
        case.verified.append(entry)
        if finding.before is None and finding.template != PERMUTATION:
            case.strength.exact -= 1
            case.strength.by_class += 1
        self.changed.add(case.name)

    def set_apart(self, name: str, reason: str) -> None:
        """The case is not run from now on; its mocks may still answer."""
        self._cases[name].set_apart = reason
        self.manifest.set_apart[name] = reason
        self.manifest.test_cases -= 1
        self.changed.add(name)

    def _generated(self, place: Place) -> dict[str, str]:
        if not place.is_call:
            return self._cases[place.owner].generated
        return self.mocks.get(place.owner) or self._owners[place.owner].generated

    @property
    def has_new_mocks(self) -> bool:
        """Whether a mock is not as it was."""
        return bool(self.mocks)

    @property
    def added(self) -> tuple[Mock, ...]:
        """Mocks that were not there: none."""
        return ()

    def revise(self, mock: Mock) -> Mock:
        """A mock as it is to be, the same object if it stays."""
        generated = self.mocks.get(mock.name)
        return mock if generated is None else replace(mock, generated=generated)


class _Owner:
    """What is remembered of a mock."""

    __slots__ = ("case", "generated", "tier")

    def __init__(self, mock: Mock) -> None:
        self.case = mock.case
        self.tier = mock.tier
        self.generated = mock.generated


def describe_finding(finding: Finding) -> dict[str, Any]:
    """A finding as the files of a test set tell it."""
    return {
        "in": finding.place.owner if finding.place.is_call else "response",
        "path": finding.place.path,
        "was": finding.before or "exact",
        "class": finding.template,
        "values_seen": finding.values,
        "runs": finding.runs,
    }


def _copy(case: TestCase) -> TestCase:
    return replace(
        case,
        generated=dict(case.generated),
        verified=list(case.verified),
        strength=replace(case.strength),
    )
