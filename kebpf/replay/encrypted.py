"""Whether the program's connections are encrypted, held against whether recorded ones were.

A destination in one protocol is compared where all recorded connections to it agree; so is the
name that they ask for in their handshakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.recording.model import Endpoint, Mock, Tls
from kebpf.replay.events import CallFinding, Mismatch, MissKind

OPERATION = "connect"
MOST_NAMES = 8  # of one destination; of one with more than one nothing is said anyway

Place = tuple[Endpoint, str]


@dataclass(slots=True)
class _Known:
    """The recorded connections to one destination in one protocol, by the first mock of them."""

    mock: str
    is_encrypted: bool = False
    is_plain: bool = False
    names: set[str] = field(default_factory=set)

    def learn(self, tls: Tls | None) -> None:
        if tls is None:
            self.is_plain = True
            return
        self.is_encrypted = True
        if tls.sni and len(self.names) < MOST_NAMES:
            self.names.add(tls.sni)


class Encryptions:
    """The recorded ones."""

    def __init__(self) -> None:
        self._known: dict[Place, _Known] = {}

    def learn(self, mock: Mock) -> None:
        """Takes a call of any kind."""
        place = mock.destination, mock.protocol
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = _Known(mock.name)
        known.learn(mock.tls)

    def judge(self, place: Endpoint, protocol: str, tls: Tls | None) -> CallFinding | None:
        """What is other on a connection than on all recorded ones."""
        known = self._known.get((place, protocol))
        if known is None or (known.is_encrypted and known.is_plain):
            return None
        recorded = Tls(next(iter(known.names), "")) if known.is_encrypted else None
        if tls is not None and recorded is not None:
            if len(known.names) != 1 or tls.sni == recorded.sni:
                return None
            field = _compare_names(recorded.sni, tls.sni)
        elif tls is recorded:
            return None
        else:
            field = Mismatch("/tls", "changed", recorded is not None, tls is not None)
        return CallFinding(
            "changed",
            protocol,
            str(place),
            describe_tls(tls),
            MissKind.DIFFERENT,
            describe_tls(recorded),
            [field],
            mock=known.mock,
            operation=OPERATION,
        )


def _compare_names(recorded: str, actual: str) -> Mismatch:
    if not actual:
        return Mismatch("/tls/sni", "missing", recorded)
    return Mismatch("/tls/sni", "changed", recorded, actual)


def describe_tls(tls: Tls | None) -> str:
    """How a connection is opened, in a few words."""
    if tls is None:
        return f"{OPERATION} without TLS"
    return f"{OPERATION} over TLS" + (f" to {tls.sni}" if tls.sni else "")
