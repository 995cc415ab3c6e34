"""Decodes what the probes send: the Python side of bpf/events.h, record by record."""

from __future__ import annotations

import enum
import ipaddress
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kebpf.capture.head import HEAD, Head, read_text
from kebpf.capture.tlsevents import (
    MARK_TAIL,
    PLAIN_TAIL,
    SESSION_TAIL,
    TLS_CODE_TAIL,
    SessionEvent,
    decode_mark,
    decode_plain,
    decode_session_end,
    decode_tls_code,
)

PIECE_TAIL = struct.Struct("=QIIIIQ")
OPEN_TAIL = struct.Struct("=QQIIQ16s16sHHHBB128s128s16s")
CLOSE_TAIL = struct.Struct("=QQQQ")
PROCESS_TAIL = struct.Struct("=II")
GIVEN_UP_TAIL = struct.Struct("=QQ")
LOSS_TAIL = struct.Struct("=Q")
HELD_TAIL = struct.Struct("=QII")
TASK_TAIL = struct.Struct("=QQ")
_RECORD = struct.Struct("=II")
#: The ring's head, `HEAD` and `PIECE_TAIL` in one: what stands before the payload of a piece.
PIECE_RECORD = struct.Struct("=II" + HEAD.format[1:] + PIECE_TAIL.format[1:])
PIECE_HEAD_SIZE = HEAD.size + PIECE_TAIL.size
_SIZE_MASK = (1 << 30) - 1
_DISCARDED = 1 << 30
_BUSY = 1 << 31

#: No record is larger: a chunk of payload (KEBPF_CHUNK) and the head before it.
MOST_RECORD_SIZE = (16 << 10) + HEAD.size + PLAIN_TAIL.size

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10


class Kind(enum.IntEnum):
    """enum kebpf_kind."""

    DATA = 1
    GAP = 2
    END = 3
    OPEN = 4
    CLOSE = 5
    LISTEN = 6
    PROCESS = 7
    GIVEN_UP = 8
    LOSS = 9
    HELD = 10
    TASK = 11
    PLAIN = 12
    MARK = 13
    SESSION_END = 14
    TLS_CODE = 15


#: Kinds whose head tells of no transport.
_WITHOUT_TRANSPORT = (
    *(Kind.PROCESS, Kind.LOSS, Kind.HELD, Kind.TASK),
    *(Kind.PLAIN, Kind.MARK, Kind.SESSION_END, Kind.TLS_CODE),
)


class Direction(enum.IntEnum):
    """Of bytes, seen from the target."""

    INGRESS = 0
    EGRESS = 1


class Transport(enum.IntEnum):
    """enum kebpf_transport."""

    TCP = 1
    UDP = 2
    UNIX_STREAM = 3
    UNIX_DATAGRAM = 4


class GapReason(enum.IntEnum):
    """enum kebpf_gap_reason."""

    NO_BUFFER = 1
    LIMIT = 2
    FAULT = 3


class Overlap(enum.IntEnum):
    """enum kebpf_overlap: a number up to the first, the last besides."""

    MANY = 127
    LATE = 128


class Operation(enum.IntEnum):
    """enum kebpf_operation."""

    OTHER = 0
    SENDFILE = 1
    SPLICE = 2
    IO_URING = 3
    TRUNCATED = 4
    RECVMMSG = 5
    VECTOR = 6


_UNREADABLE = "from memory that could not be read"
_OPERATION_NAMES = {
    Operation.OTHER: "by a system call whose buffers are not known",
    Operation.SENDFILE: "by sendfile",
    Operation.SPLICE: "by splice",
    Operation.IO_URING: "by io_uring",
    Operation.TRUNCATED: "by reading with MSG_TRUNC",
    Operation.RECVMMSG: "by recvmmsg with a timeout",
    Operation.VECTOR: "by sendmmsg or recvmmsg in too many threads at once",
}


class SocketRole(enum.IntEnum):
    """enum kebpf_role."""

    UNKNOWN = 0
    CLIENT = 1
    SERVER = 2


class ProcessChange(enum.IntEnum):
    """enum kebpf_process_change."""

    FORK = 1
    EXEC = 2
    EXIT = 3
    JOIN = 4
    THREAD = 5
    THREAD_EXIT = 6


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that crossed a socket; ``offset`` counts from where the connection was first seen.

    ``task`` is the asyncio task that sent them, by when it was made; 0 where none is known.
    """

    head: Head
    offset: int
    size: int
    call_size: int
    call_offset: int
    data: bytes
    task: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes that crossed a socket and were not copied."""

    head: Head
    offset: int
    size: int
    call_size: int
    reason: GapReason
    operation: Operation
    task: int = 0

    @property
    def cause(self) -> str:
        """Why, in words that follow "bytes"."""
        if self.reason == GapReason.NO_BUFFER:
            return _OPERATION_NAMES[self.operation]
        return "beyond the limit of one call" if self.reason == GapReason.LIMIT else _UNREADABLE


@dataclass(frozen=True, slots=True)
class End:
    """The sender of ``head.direction`` closed it."""

    head: Head


@dataclass(frozen=True, slots=True)
class Open:
    """A connection seen for the first time (or, as `Listen`, a socket that listens).

    ``…_before`` are the bytes the socket had moved until then, ``…_sequence`` its TCP sequence
    numbers at that point.
    """

    head: Head
    ingress_before: int
    egress_before: int
    ingress_sequence: int
    egress_sequence: int
    inode: int
    family: int
    role: SocketRole
    local: str
    local_port: int
    remote: str
    remote_port: int
    process: str  # name of the thread that was seen first

    @property
    def has_moved(self) -> bool:
        """Whether a TCP connection had moved bytes before this life of it was first seen."""
        # the kernel's bytes_acked counts the SYN of a connection that the target began: hence 1
        is_tcp = self.head.transport == Transport.TCP
        return is_tcp and (self.ingress_before > 0 or self.egress_before > 1)


@dataclass(frozen=True, slots=True)
class Listen(Open):
    """A target's socket began to listen on ``local`` and ``local_port``."""


@dataclass(frozen=True, slots=True)
class Close:
    """A socket's end: bytes moved and bytes whose record was lost, by direction."""

    head: Head
    moved: tuple[int, int]
    lost: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Process:
    """A target's fork, exec or exit, or that another process became one by its control group.

    Of a thread: that it made another one (``child``), or ended before its process did.
    """

    head: Head
    child: int
    change: ProcessChange


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The reader keeps a connection's bytes no more; ``dropped`` are those so far."""

    head: Head
    dropped: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loss:
    """Records found no room in the ring, between ``since_ns`` and the head's time.

    They are of the head's connection; with socket 0, of some that cannot be named any more.
    """

    head: Head
    since_ns: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a process that joined (``head.pid``) had: a socket, or a TCP port it listens on.

    With ``is_last`` neither: all of it was told.
    """

    head: Head
    inode: int
    port: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Task:
    """An asyncio task of the process ``head.pid`` was made while another ran, its ``parent``."""

    head: Head
    task: int
    parent: int


Event = Data | Lost | End | Open | Close | Process | GivenUp | Loss | Held | Task | SessionEvent


class EventError(Exception):
    """A record does not follow bpf/events.h: the log is damaged or of another version."""


def _address(family: int, raw: bytes, path: bytes) -> str:
    """A numeric address or a path; v4-mapped IPv6 addresses as IPv4."""
    if family == AF_UNIX:
        return read_text(path)
    if family == AF_INET:
        return str(ipaddress.IPv4Address(raw[:4]))
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _decode_open(kind: int, head: Head, data: bytes, at: int, _: int) -> Open:
    (in_before, out_before, in_seq, out_seq, inode, local, remote, local_port, remote_port, family,
     role, _, local_path, remote_path, process) = OPEN_TAIL.unpack_from(data, at)  # fmt: skip
    make = Listen if kind == Kind.LISTEN else Open
    return make(
        head,
        in_before,
        out_before,
        in_seq,
        out_seq,
        inode,
        family,
        SocketRole(role),
        _address(family, local, local_path),
        local_port,
        _address(family, remote, remote_path),
        remote_port,
        read_text(process),
    )


def _decode_data(_: int, head: Head, data: bytes, at: int, end: int) -> Data:
    offset, size, call_size, call_offset, _, task = PIECE_TAIL.unpack_from(data, at)
    start = at + PIECE_TAIL.size
    if start + size != end:
        raise ValueError(f"{size} bytes of payload where there are {end - start}")
    return Data(head, offset, size, call_size, call_offset, data[start:end], task)


def _decode_gap(_: int, head: Head, data: bytes, at: int, __: int) -> Lost:
    offset, size, call_size, _, reason, task = PIECE_TAIL.unpack_from(data, at)
    why, operation = GapReason(reason & 0xFFFF), Operation(reason >> 16)
    return Lost(head, offset, size, call_size, why, operation, task)


def _decode_close(_: int, head: Head, data: bytes, at: int, __: int) -> Close:
    moved_in, moved_out, lost_in, lost_out = CLOSE_TAIL.unpack_from(data, at)
    return Close(head, (moved_in, moved_out), (lost_in, lost_out))


def _decode_process(_: int, head: Head, data: bytes, at: int, __: int) -> Process:
    child, change = PROCESS_TAIL.unpack_from(data, at)
    return Process(head, child, ProcessChange(change))


def _decode_given_up(_: int, head: Head, data: bytes, at: int, __: int) -> GivenUp:
    dropped_in, dropped_out = GIVEN_UP_TAIL.unpack_from(data, at)
    return GivenUp(head, (dropped_in, dropped_out))


def _decode_loss(_: int, head: Head, data: bytes, at: int, __: int) -> Loss:
    return Loss(head, LOSS_TAIL.unpack_from(data, at)[0])


def _decode_held(_: int, head: Head, data: bytes, at: int, __: int) -> Held:
    inode, port, is_last = HELD_TAIL.unpack_from(data, at)
    return Held(head, inode, port, bool(is_last))


def _decode_task(_: int, head: Head, data: bytes, at: int, __: int) -> Task:
    return Task(head, *TASK_TAIL.unpack_from(data, at))


def _decode_end(_: int, head: Head, __: bytes, ___: int, ____: int) -> End:
    return End(head)


_DECODERS: dict[Kind, tuple[int, Callable[[int, Head, bytes, int, int], Event]]] = {
    Kind.DATA: (PIECE_TAIL.size, _decode_data),
    Kind.GAP: (PIECE_TAIL.size, _decode_gap),
    Kind.END: (0, _decode_end),
    Kind.PLAIN: (PLAIN_TAIL.size, decode_plain),
    Kind.MARK: (MARK_TAIL.size, decode_mark),
    Kind.SESSION_END: (SESSION_TAIL.size, decode_session_end),
    Kind.TLS_CODE: (TLS_CODE_TAIL.size, decode_tls_code),
    Kind.OPEN: (OPEN_TAIL.size, _decode_open),
    Kind.LISTEN: (OPEN_TAIL.size, _decode_open),
    Kind.CLOSE: (CLOSE_TAIL.size, _decode_close),
    Kind.PROCESS: (PROCESS_TAIL.size, _decode_process),
    Kind.GIVEN_UP: (GIVEN_UP_TAIL.size, _decode_given_up),
    Kind.LOSS: (LOSS_TAIL.size, _decode_loss),
    Kind.HELD: (HELD_TAIL.size, _decode_held),
    Kind.TASK: (TASK_TAIL.size, _decode_task),
}


def decode_event(data: bytes, at: int, end: int) -> Event:
    """The record whose payload is ``data[at:end]``.  Raises `EventError`."""
    try:
        (time_ns, sk, generation, pid, tid, kind, direction, transport, overlaps, sequence) = (
            HEAD.unpack_from(data, at)
        )
        if kind not in _WITHOUT_TRANSPORT:
            Transport(transport)
        Direction(direction)
        head = Head(time_ns, sk, generation, pid, tid, direction, transport, sequence, overlaps)
        size, decode = _DECODERS[Kind(kind)]
        tail = at + HEAD.size
        if tail + size > end:
            raise ValueError("it is too short")
        return decode(kind, head, data, tail, end)
    except (struct.error, ValueError) as error:
        raise EventError(f"damaged event record: {error}") from None


def _size_of(word: int) -> int:
    size = word & _SIZE_MASK
    if size > MOST_RECORD_SIZE or word & _BUSY:
        raise EventError("damaged event record: its length is none")
    return size


def split_records(run: bytes) -> Iterator[tuple[int, int]]:
    """Where the payloads of a run of ring records begin and end.  Raises `EventError`."""
    at, end = 0, len(run)
    while at < end:
        size, is_discarded = measure_record(run, at)
        if not is_discarded:
            yield at + _RECORD.size, at + _RECORD.size + size
        at += (size + _RECORD.size + 7) & ~7


def measure_record(run: bytes, at: int) -> tuple[int, bool]:
    """The size of the payload of the record at ``at``; whether it was discarded.

    Raises `EventError`.
    """
    if len(run) - at < _RECORD.size:
        raise EventError("a record is cut off")
    word = _RECORD.unpack_from(run, at)[0]
    size = _size_of(word)
    if at + _RECORD.size + size > len(run):
        raise EventError("a record is cut off")
    return size, bool(word & _DISCARDED)


def take_event(run: bytes, at: int) -> tuple[Event | None, int]:
    """The event at ``at`` (none if its record was discarded), and where the next record begins.

    Raises `EventError`.
    """
    size, is_discarded = measure_record(run, at)
    start = at + _RECORD.size
    event = None if is_discarded else decode_event(run, start, start + size)
    return event, at + ((size + _RECORD.size + 7) & ~7)


def whole_size(run: bytes) -> int:
    """How many bytes at the start of ``run`` are whole records.  Raises `EventError`."""
    at, end = 0, len(run)
    while at + _RECORD.size <= end:
        size = _size_of(_RECORD.unpack_from(run, at)[0])
        following = at + ((size + _RECORD.size + 7) & ~7)
        if following > end:
            break
        at = following
    return at


def make_record(payload: bytes) -> bytes:
    """A record as the ring would hold it."""
    return _RECORD.pack(len(payload), 0) + payload + bytes(-len(payload) % 8)


def decode_run(run: bytes) -> Iterator[Event]:
    """The events of a run of ring records.  Raises `EventError`."""
    for at, end in split_records(run):
        yield decode_event(run, at, end)
