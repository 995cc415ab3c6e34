"""What the program opens its connections with, held against what recorded ones were opened with.

A setting is compared where all recorded connections to a database, by the same user, agree on it:
time zone, search path and options of PostgreSQL's start-up, version and name in Redis's HELLO and
CLIENT SETNAME.  Numbers in a connection's name, such as a process's, are no part of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Mock, Tls
from kebpf.replay.encrypted import Encryptions
from kebpf.replay.events import CallFinding, Mismatch, MissKind

MOST_VALUES = 8  # of one setting; of one with more than one nothing is said anyway
MOST_FINDINGS = 100
NAMES = ("application_name", "name")
_NUMBER = re.compile(r"[0-9a-fA-F-]{8,}|\d+")

Key = tuple[Endpoint, str]


@dataclass(frozen=True, slots=True)
class Opening:
    """``what`` is opened, in a few words, and with which settings."""

    what: str
    settings: Mapping[str, str]


@dataclass(slots=True)
class _Known:
    """All recorded connections that were opened for the same."""

    opening: Opening
    mock: str
    count: int = 0
    values: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def learn(self, opening: Opening) -> None:
        self.count += 1
        for name, value in opening.settings.items():
            counts = self.values[name]
            if value in counts or len(counts) < MOST_VALUES:
                counts[value] = counts.get(value, 0) + 1

    def differ(self, actual: Opening) -> Iterator[Mismatch]:
        """Where one differs from all of them."""
        for name, counts in self.values.items():
            value, times = next(iter(counts.items()))
            if len(counts) > 1 or times < self.count:
                continue
            found = actual.settings.get(name)
            if found is None:
                yield Mismatch(f"/{name}", "missing", value)
            elif found != value:
                yield Mismatch(f"/{name}", "changed", value, found)
        for name, found in actual.settings.items():
            if name not in self.values:
                yield Mismatch(f"/{name}", "extra", None, found)


class Openings:
    """The recorded ones, by destination and by what was opened."""

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, _Known]] = defaultdict(dict)

    def learn(self, mock: Mock) -> None:
        """Takes a session exchange; what the server refused says nothing."""
        if (mock.response or {}).get("error"):
            return
        known = self._known[mock.destination, mock.protocol]
        for opening in read_openings(mock.protocol, mock.request):
            if opening.what not in known:
                known[opening.what] = _Known(opening, mock.name)
            known[opening.what].learn(opening)

    def judge(self, place: Endpoint, protocol: str, request: Document) -> CallFinding | None:
        """What is other than it always was when the program opened this."""
        recorded = self._known.get((place, protocol), {})
        for opening in read_openings(protocol, request):
            known = recorded.get(opening.what)
            if known is not None:
                return _compare(known, opening, place, protocol)
        return None


def _compare(known: _Known, opening: Opening, place: Endpoint, protocol: str) -> CallFinding | None:
    fields = list(known.differ(opening))
    if not fields:
        return None
    return CallFinding(
        "changed",
        protocol,
        str(place),
        f"{opening.what} ({_list(opening)})",
        MissKind.DIFFERENT,
        f"{opening.what} ({_list(known.opening)})",
        fields,
        mock=known.mock,
        operation=opening.what,
    )


class OpenedNow:
    """What a run's connections were opened with that is another than when recorded."""

    def __init__(self, recorded: Openings, encryptions: Encryptions) -> None:
        self._recorded = recorded
        self._encryptions = encryptions
        self._findings: dict[tuple[str, str], CallFinding] = {}

    def note(self, place: Endpoint, protocol: str, request: Document) -> None:
        """A connection is opened; equal differences are one finding."""
        self._note(self._recorded.judge(place, protocol, request))

    def note_encryption(self, place: Endpoint, protocol: str, tls: Tls | None) -> None:
        """The same of how it is encrypted."""
        self._note(self._encryptions.judge(place, protocol, tls))

    def _note(self, finding: CallFinding | None) -> None:
        if finding is None:
            return
        key = finding.destination, finding.call
        if key in self._findings:
            found = self._findings[key]
            self._findings[key] = replace(found, count=found.count + 1)
        elif len(self._findings) < MOST_FINDINGS:
            self._findings[key] = finding

    def list_findings(self) -> list[CallFinding]:
        """They belong to no one case: which one a pool opens a connection in is chance."""
        return list(self._findings.values())


def read_openings(protocol: str, request: Document) -> list[Opening]:
    """What a session exchange opens, if it does, the most exact of its groups first."""
    if protocol == "postgres" and request.get("kind") == "startup":
        user, what = str(request.get("user")), f"connect to {request.get('database')}"
        settings = _clean(request.get("options") or {})
        return [Opening(f"{what} as {user}", settings), Opening(what, {"user": user, **settings})]
    return [*_read_redis(request)] if protocol == "redis" else []


def _read_redis(request: Document) -> Iterator[Opening]:
    words = [str(word) for word in request.get("command") or ()]
    upper = [word.upper() for word in words]
    if upper[:1] == ["HELLO"] and len(words) > 1:
        settings = {"version": words[1]}
        if "SETNAME" in upper[2:-1]:
            settings["name"] = words[upper.index("SETNAME", 2) + 1]
        yield Opening("HELLO", _clean(settings))
    if upper[:2] == ["CLIENT", "SETNAME"] and len(words) == 3:
        yield Opening("CLIENT SETNAME", _clean({"name": words[2]}))


def _clean(settings: Mapping[str, object]) -> dict[str, str]:
    """Without what differs between two processes of one program."""
    texts = {name: str(value) for name, value in settings.items()}
    return {name: _NUMBER.sub("#", text) if name in NAMES else text for name, text in texts.items()}


def _list(opening: Opening) -> str:
    return ", ".join(f"{name}={value}" for name, value in opening.settings.items()) or "no settings"
