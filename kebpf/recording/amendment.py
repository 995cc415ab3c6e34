"""A test set with changes that a person accepted and that are not on the disk yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from kebpf.recording.model import Manifest, Mock, TestCase


class Original(Protocol):
    """The test set as it was read."""

    @property
    def manifest(self) -> Manifest: ...
    def cases(self) -> Iterable[TestCase]: ...
    def apart(self) -> Iterable[TestCase]: ...
    def iter_mocks(self) -> Iterator[tuple[int, Mock]]: ...
    def mock_at(self, offset: int) -> Mock: ...


class AmendedSet:
    """Gives cases and mocks as they are to be; the original stays as it is.

    Cases are held in memory, of mocks only where they are and what was changed.
    """

    def __init__(self, original: Original) -> None:
        self._original = original
        self.manifest = replace(original.manifest)
        self._cases = {case.name: case for case in [*original.cases(), *original.apart()]}
        self._offsets = {mock.name: offset for offset, mock in original.iter_mocks()}
        self._mocks: dict[str, Mock | None] = {}
        self.added: list[Mock] = []
        self.changed: set[str] = set()

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self.changed) or self.has_new_mocks

    @property
    def has_new_mocks(self) -> bool:
        """Whether a mock is not as it was."""
        return bool(self._mocks or self.added)

    def cases(self) -> list[TestCase]:
        """All of them as they are to be, in the order of the recording."""
        return sorted(self._cases.values(), key=lambda case: (case.order, case.name))

    def find_case(self, name: str) -> TestCase | None:
        """The case of a name, if there is one."""
        return self._cases.get(name)

    def case(self, name: str) -> TestCase:
        """The case of a name that is known."""
        return self._cases[name]

    def put_case(self, case: TestCase) -> None:
        """The case is so from now on."""
        self._cases[case.name] = case
        self.changed.add(case.name)

    def mock(self, name: str) -> Mock | None:
        """The mock of a name as it is to be; ``None``: there is none."""
        if name in self._mocks:
            return self._mocks[name]
        added = next((mock for mock in self.added if mock.name == name), None)
        if added is not None or name not in self._offsets:
            return added
        return self._original.mock_at(self._offsets[name])

    def put_mock(self, mock: Mock) -> None:
        """The mock is so from now on."""
        self._mocks[mock.name] = mock

    def drop_mock(self, name: str) -> None:
        """There is no such mock any more, and no case that makes the call."""
        self._mocks[name] = None
        self.manifest.mocks -= 1
        for case in self._cases.values():
            if name in case.calls:
                self.put_case(replace(case, calls=[one for one in case.calls if one != name]))

    def add_mock(self, mock: Mock, case: str) -> Mock:
        """One more mock, which a case asks for; gives it as it is named."""
        numbers = (name.rpartition("-")[2] for name in [*self._offsets, *self._names_added()])
        last = max((int(number) for number in numbers if number.isdigit()), default=0)
        mock = replace(mock, name=f"mock-{last + 1:06}")
        self.added.append(mock)
        self.manifest.mocks += 1
        owner = self._cases[case]
        self.put_case(replace(owner, calls=[*owner.calls, mock.name]))
        return mock

    def _names_added(self) -> list[str]:
        return [mock.name for mock in self.added]

    def revise(self, mock: Mock) -> Mock | None:
        """A mock as it is to be, the same object if it stays, ``None`` if it goes."""
        return self._mocks.get(mock.name, mock)

    def iter_mocks(self) -> Iterator[Mock]:
        """Every mock as it is to be."""
        for _, mock in self._original.iter_mocks():
            now = self.revise(mock)
            if now is not None:
                yield now
        yield from self.added
