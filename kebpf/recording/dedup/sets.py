"""Keeps what is unique of a test set that was recorded before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kebpf.recording.dedup.leaving import Rules
from kebpf.recording.dedup.mocks import MockKeeper
from kebpf.recording.dedup.stream import Arrival, Stream
from kebpf.recording.dedup.ties import Ties
from kebpf.recording.dedup.traits import Called, GetSpec, find_traits, tells_apart
from kebpf.recording.model import Manifest, Mock, TestCase
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet

_UNLIMITED = 1 << 62


@dataclass(slots=True)
class Sifted:
    """What became of a set: ``requests`` it stands for, of so many shapes; what stays and goes.

    ``routes`` says how often each shape came, ``left_out`` how many cases each rule left out.
    """

    requests: int
    shapes: int
    test_cases: int
    mocks: int
    dropped: int
    dropped_mocks: int
    routes: list[tuple[str, int]]
    left_out: dict[str, int] = field(default_factory=dict)


def sift_set(
    test_set: TestSet,
    rules: Rules,
    get_spec: GetSpec,
    *,
    into: Path | None = None,
    is_trial: bool = False,
) -> Sifted:
    """Rewrites a set whole or not at all, or leaves it and writes ``into`` another folder.

    A trial writes nothing.  Raises ``TestSetError``.
    """
    sifting = _Sifting(test_set, rules, get_spec)
    result = sifting.run()
    is_needed = into is not None or sifting.changed or sifting.gone or sifting.has_new_mocks
    if is_needed and not is_trial:
        rewrite_set(test_set, sifting, sifting.gone, into)
    return result


class _Sifting:
    """The set as it is to be; of its cases none is held."""

    def __init__(self, test_set: TestSet, rules: Rules, get_spec: GetSpec) -> None:
        self._test_set = test_set
        self._rules = rules
        self._get_spec = get_spec
        self._stream = Stream(_UNLIMITED, _UNLIMITED, _UNLIMITED)
        self._keeper = MockKeeper(get_spec)
        self._files: dict[str, Path] = {}
        self._shares: dict[str, tuple[int, str]] = {}
        self.manifest: Manifest = test_set.manifest
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self.has_new_mocks = False

    @property
    def added(self) -> Sequence[Mock]:
        """None."""
        return ()

    def case(self, name: str) -> TestCase:
        """A case with the requests it stands for."""
        case = self._test_set.read_file(self._files[name])
        seen, shape = self._shares.get(name, (case.seen, case.shape))
        return replace(case, seen=seen, shape=shape)

    def revise(self, mock: Mock) -> Mock | None:
        """A mock as it is to be, the same object if it stays, ``None`` if it goes."""
        return self._keeper.revise(mock)

    def run(self) -> Sifted:
        """Decides of all cases and mocks."""
        left_out = Counter(self._take_cases())
        self.gone.update(self._stream.finish())
        before = {name: share for name, share in self._shares.items() if name not in self.gone}
        self._shares = {name: (seen, shape) for name, seen, shape in self._stream.list_kept()}
        self.changed = {name for name, share in self._shares.items() if before[name] != share}
        total, mocks = self._take_mocks()
        self._describe(left_out, mocks)
        return Sifted(
            requests=self._stream.seen,
            shapes=self._stream.shapes,
            test_cases=len(self._shares),
            mocks=mocks,
            dropped=len(self.gone),
            dropped_mocks=total - mocks,
            routes=sorted(self._stream.list_shapes()),
            left_out=dict(left_out),
        )

    def _take_cases(self) -> Iterator[str]:
        """Gives the reason of each that a rule leaves out."""
        offsets = {mock.name: offset for offset, mock in self._test_set.iter_mocks()}
        ties = Ties(self._get_spec)
        counted: set[str] = set()
        for number, path in enumerate(self._test_set.list_in_order(), 1):
            case = self._test_set.read_file(path)
            self._files[case.name] = path
            reason = self._rules.find_reason(case.request)
            if reason is not None:
                self.gone.add(case.name)
                yield reason
                continue
            self._shares[case.name] = case.seen, case.shape
            mocks = [self._test_set.mock_at(offsets[one]) for one in case.calls if one in offsets]
            calls = [Called.of_mock(mock) for mock in mocks if tells_apart(mock)]
            traits = find_traits(case, calls, self._get_spec)
            needs = ties.find(number, case, calls, traits)
            duration_ns = case.timing.end_ns - case.timing.start_ns
            weight = _weigh(case, counted)
            self._stream.take(
                Arrival(case.name, number, traits, duration_ns, needs, weight, case.shape)
            )

    def _take_mocks(self) -> tuple[int, int]:
        """How many there were and how many stay."""
        for name in self._shares:
            self._keeper.add_case(name)
        for case in self._test_set.apart():
            self._keeper.add_case(case.name)
        total = stay = 0
        for _, mock in self._test_set.iter_mocks():
            self._keeper.add_mock(mock)
        self._keeper.end()
        for _, mock in self._test_set.iter_mocks():
            revised = self.revise(mock)
            total += 1
            stay += revised is not None
            self.has_new_mocks = self.has_new_mocks or revised is not mock
        return total, stay

    def _describe(self, left_out: Counter[str], mocks: int) -> None:
        """The manifest as it is to be."""
        manifest = self._test_set.manifest
        reasons = Counter(manifest.losses.left_out)
        reasons.update(left_out)
        before: dict[str, Any] = manifest.extra.get("unique") or {}
        facts = before | {"requests": self._stream.seen, "shapes": self._stream.shapes}
        self.manifest = replace(
            manifest,
            test_cases=len(self._shares),
            mocks=mocks,
            losses=replace(manifest.losses, left_out=dict(reasons)),
            extra=manifest.extra | {"unique": facts},
        )


def _weigh(case: TestCase, counted: set[str]) -> int:
    """The requests a case stands for that no case before it stood for."""
    if not case.shape:
        return 1
    if case.shape in counted:
        return 0
    counted.add(case.shape)
    return case.seen
