"""One connection of the target: its ends, its role, its two streams."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.capture.events import Direction, Open, SocketRole, Transport
from kebpf.reassembly.order import TimeOrder
from kebpf.reassembly.stream import Stream
from kebpf.reassembly.unixstream import UnixStream

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
    why bytes were not copied, in words, to how many.  ``ends`` are the ends of
    streams, offset and time, as long as a piece before them may still come; ``order`` keeps what
    came after such a piece.

    ``is_closed`` once nothing more is expected, ``is_gone`` if the kernel said that its socket is.
    ``is_given_up`` once the reader keeps its bytes no more.  By direction, ``declared`` are the
    bytes the probes said they could not copy, ``dropped`` those the reader threw away.
    """

    number: int
    opened: Open
    role: SocketRole
    is_joined: bool = False
    streams: tuple[Stream, Stream] = field(init=False)
    writes: UnixStream | None = field(init=False)  # the second stream of a Unix socket
    is_closed: bool = False
    is_gone: bool = False
    missing_payload: dict[str, int] = field(default_factory=dict)
    ends: dict[Direction, tuple[int, int]] = field(default_factory=dict)
    order: TimeOrder = field(default_factory=TimeOrder)
    is_given_up: bool = False
    declared: list[int] = field(default_factory=lambda: [0, 0])
    dropped: list[int] = field(default_factory=lambda: [0, 0])
    bases: tuple[int, int] = field(init=False)  # TCP sequence numbers of offset 0, by direction

    def __post_init__(self) -> None:
        is_unix = self.opened.head.transport == Transport.UNIX_STREAM
        self.writes = UnixStream() if is_unix else None
        self.streams = (Stream(), self.writes or Stream())
        self.bases = (self.opened.ingress_sequence, self.opened.egress_sequence)

    @property
    def transport(self) -> str:
        return _TRANSPORT_NAMES[Transport(self.opened.head.transport)]

    @property
    def name(self) -> str:
        """``10.0.0.1:40000 → 10.0.0.2:6379``, the client first."""
        ours, theirs = (
            f"{host}:{port}" if port else host or "?"
            for host, port in (
                (self.opened.local, self.opened.local_port),
                (self.opened.remote, self.opened.remote_port),
            )
        )
        return f"{theirs} → {ours}" if self.role == SocketRole.SERVER else f"{ours} → {theirs}"

    @property
    def pid(self) -> int:
        return self.opened.head.pid

    @property
    def captured_size(self) -> int:
        return self.streams[0].captured_size + self.streams[1].captured_size

    @property
    def given_up_size(self) -> int:
        """Bytes that the reader threw away, as far as they were found missing."""
        return sum(
            min(dropped, stream.gap_size)
            for dropped, stream in zip(self.dropped, self.streams, strict=True)
        )

    @property
    def gap_size(self) -> int:
        """Bytes missing for any other reason."""
        return self.streams[0].gap_size + self.streams[1].gap_size - self.given_up_size
