"""One connection of the target: its ends, its role, its two streams."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.capture.events import Direction, Open, SocketRole, Transport
from kebpf.reassembly.order import TimeOrder
from kebpf.reassembly.stream import Stream

_TRANSPORT_NAMES = {
    Transport.TCP: "tcp",
    Transport.UDP: "udp",
    Transport.UNIX_STREAM: "unix",
    Transport.UNIX_DATAGRAM: "unix-datagram",
}


@dataclass(slots=True)
class Connection:
    """A connection, numbered from 1 in the order of appearance.

    ``is_joined`` says that bytes may have moved before the first event.  ``missing_payload`` maps
    why bytes were not copied, in words, to how many.  ``ends_ns`` are the ends of
    streams that still wait for a piece; ``order`` keeps what came after such a piece.
    """

    number: int
    opened: Open
    role: SocketRole
    is_joined: bool = False
    streams: tuple[Stream, Stream] = field(default_factory=lambda: (Stream(), Stream()))
    is_closed: bool = False
    missing_payload: dict[str, int] = field(default_factory=dict)
    ends_ns: dict[Direction, int] = field(default_factory=dict)
    order: TimeOrder = field(default_factory=TimeOrder)
    bases: tuple[int, int] = field(init=False)  # TCP sequence numbers of offset 0, by direction

    def __post_init__(self) -> None:
        self.bases = (self.opened.ingress_sequence, self.opened.egress_sequence)

    @property
    def transport(self) -> str:
        return _TRANSPORT_NAMES[Transport(self.opened.head.transport)]

    @property
    def pid(self) -> int:
        return self.opened.head.pid

    @property
    def captured_size(self) -> int:
        return self.streams[0].captured_size + self.streams[1].captured_size

    @property
    def gap_size(self) -> int:
        return self.streams[0].gap_size + self.streams[1].gap_size
