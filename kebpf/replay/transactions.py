"""Asserts how a case began and ended its transactions: modes, COMMITs, ROLLBACKs also in part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kebpf.protocols.base import Document
from kebpf.recording.model import Evidence, Mock
from kebpf.replay.events import CallFinding, MissKind

_VERBS = {
    "COMMIT": "COMMIT",
    "END": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "ABORT": "ROLLBACK",
}
_OPENING = ("BEGIN", "START")
_EMPTY_WORDS = ("WORK", "TRANSACTION")
_CLEAR = (Evidence.THREAD, Evidence.CHECKOUT)

Ending = tuple[str, str, str]  # protocol, destination, verb


def read_ending(request: Document) -> str | None:
    """What a request does to its transaction, else ``None``.

    ``COMMIT``, ``ROLLBACK``, ``ROLLBACK TO`` (a savepoint's name is the connection's affair) or
    ``BEGIN`` with the modes asked for; a plain ``BEGIN`` says nothing that its end does not.
    """
    sql = request.get("sql")
    words = sql.upper().replace(";", " ").split() if isinstance(sql, str) else []
    if not words or "PREPARED" in words:
        return None
    if words[0] in _OPENING:
        modes = [word for word in words[1:] if word not in _EMPTY_WORDS]
        return " ".join(["BEGIN", *modes]) if modes else None
    verb = _VERBS.get(words[0])
    return f"{verb} TO" if verb and "TO" in words else verb


class TransactionEndings:
    """The endings a case recorded with clear evidence, and those the application made.

    A case for which none was recorded with clear evidence asserts none: a pool's own ROLLBACK
    on return cannot be told from the application's.  Those with weaker evidence may come or not.
    """

    def __init__(self, mocks: Iterable[Mock] = ()) -> None:
        self._recorded: Counter[Ending] = Counter()
        self._doubtful: Counter[Ending] = Counter()
        self._actual: Counter[Ending] = Counter()
        for mock in mocks:
            verb = read_ending(mock.request)
            if verb is not None:
                known = self._recorded if mock.evidence in _CLEAR else self._doubtful
                known[mock.protocol, str(mock.destination), verb] += 1

    def note(self, protocol: str, destination: str, request: Document) -> None:
        """The application ended a transaction."""
        verb = read_ending(request)
        if verb is not None:
            self._actual[protocol, destination, verb] += 1

    def pending(self) -> list[str]:
        """Endings not yet seen."""
        missing = self._recorded - self._actual
        return [verb for (_, _, verb), count in missing.items() for _ in range(count)]

    def findings(self) -> list[CallFinding]:
        """Endings that are not as recorded; a COMMIT that became a ROLLBACK is one finding."""
        if not self._recorded:
            return []
        missing = list((self._recorded - self._actual).elements())
        extra = list((self._actual - self._recorded - self._doubtful).elements())
        return [*_pair_changed(missing, extra), *_list_rest(missing, extra)]


def _pair_changed(missing: list[Ending], extra: list[Ending]) -> Iterator[CallFinding]:
    """Takes out of both lists what belongs together."""
    for recorded in list(missing):
        actual = next((e for e in extra if e[:2] == recorded[:2]), None)
        if actual is None:
            continue
        missing.remove(recorded)
        extra.remove(actual)
        yield CallFinding("changed", *actual, MissKind.DIFFERENT, nearest=recorded[2])


def _list_rest(missing: list[Ending], extra: list[Ending]) -> Iterator[CallFinding]:
    for protocol, destination, verb in missing:
        yield CallFinding("missing", protocol, destination, verb)
    for protocol, destination, verb in extra:
        yield CallFinding("extra", protocol, destination, verb)
