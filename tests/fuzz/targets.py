"""What is fuzzed: each takes any bytes, and raises only what its contract says, which is caught."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from kebpf.capture.events import EventError, SocketRole
from kebpf.capture.head import HEAD
from kebpf.protocols.base import Exchange, Mark, Miss, ProtocolError, ProtocolSpec, Sender
from kebpf.protocols.registry import load_protocols
from kebpf.protocols.tls.hello import begins_client_hello, read_hello
from kebpf.protocols.tls.records import RecordReader, find_record
from kebpf.reassembly.javareports import JavaReports, ReportError, is_report
from kebpf.reassembly.stream import Piece
from kebpf.recording.casefile import read_edited_case
from kebpf.recording.intake import Intake
from kebpf.recording.journal import read_journal
from kebpf.recording.manifestfile import read_manifest
from kebpf.recording.measure import measure_document
from kebpf.recording.mockfile import MockFileError, pack_document, read_mock
from kebpf.recording.pipeline import Pipeline
from tests.capture.records import Socket, make_record
from tests.recording.doubles import MemoryWriter
from tests.recording.shop import HEAD as LOG_HEAD

Target = Callable[[bytes], None]
_CHUNK = struct.Struct(">BH")
_GAP, _END = 2, 3


def read_chunks(data: bytes) -> Iterator[tuple[Sender, int, bytes]]:
    """A conversation: who speaks (lowest bit), what (the two above), how much (16 bits)."""
    at = 0
    while at + _CHUNK.size <= len(data):
        how, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        sender = Sender.SERVER if how & 1 else Sender.CLIENT
        yield sender, how >> 1 & 3, data[at : at + size]
        at += size


def make_chunks(*said: tuple[bool, bytes]) -> bytes:
    """The reverse, for bytes alone: whether the server says it, and what."""
    return b"".join(_CHUNK.pack(server, len(data)) + data for server, data in said)


def watch(spec: ProtocolSpec, data: bytes) -> None:
    """A pairer never raises, and what it gives can be looked at and stored, or says why not."""
    pairer = spec.make_pairer(joined=data[:1] == b"\x01")
    time_ns, exchanges = 0, []
    for sender, kind, chunk in read_chunks(data[1:]):
        time_ns += 1000
        mark = Mark(time_ns, 1)
        if kind == _GAP:
            exchanges += pairer.receive_gap(sender, len(chunk), mark)
        elif kind == _END:
            exchanges += pairer.receive_eof(sender, mark)
        else:
            exchanges += pairer.receive_data(sender, chunk, mark)
    exchanges += pairer.finish(Mark(time_ns + 1, 1))
    for exchange in exchanges:
        look_at(spec, exchange)


def look_at(spec: ProtocolSpec, exchange: Exchange) -> None:
    """All that is done with an exchange before it is written."""
    if not exchange.request:
        return
    spec.describe(exchange.request)
    views: list[Any] = [spec.identity(exchange.request), spec.view(exchange.request)]
    views += [] if exchange.response is None else [spec.view(exchange.response)]
    for view in views:
        Intake(view)
    for document in (exchange.request, exchange.response):
        if document is not None:
            try:
                measure_document(document)
                pack_document(document)
            except ValueError:
                continue


def detect(spec: ProtocolSpec, data: bytes) -> None:
    """The first bytes of both directions, of a connection from its start and from its middle."""
    size = data[0] if data else 0
    client, server = data[1 : 1 + size], data[1 + size :]
    spec.detect(client, server)
    spec.resynchronise(client, server)


class Nobody:
    """An answerer without answers."""

    def answer(self, request: Any) -> Miss:
        return Miss("never recorded")

    def session(self, request: Any) -> None:
        return None

    def peek(self, request: Any) -> bool:
        return False


def serve(spec: ProtocolSpec, data: bytes) -> None:
    """A server session is spoken to by anything."""
    session = spec.make_server(Nobody(), [])
    for sender, _, chunk in read_chunks(data[1:]):
        if sender is Sender.CLIENT and not session.is_closed:
            session.receive_data(chunk)
    session.receive_eof()


def read_tls(data: bytes) -> None:
    """Records and greetings."""
    begins_client_hello(data)
    find_record(data)
    reader = RecordReader()
    with suppress(ProtocolError):
        for at in range(0, len(data), 1 + len(data) // 3):
            reader.receive_data(data[at : at + 1 + len(data) // 3])
    for kind in (1, 2, 8):
        with suppress(ProtocolError):
            read_hello(data, kind)


def read_java(data: bytes) -> None:
    """Datagrams of what claims to be kebpf's own agent in a JVM."""
    reports = JavaReports(100)
    for number, (_, _, chunk) in enumerate(read_chunks(data)):
        is_report(chunk)
        try:
            reports.take(Piece(number, len(chunk), number, 1, chunk))
        except ReportError:
            continue


def read_events(data: bytes) -> None:
    """The ring's records, all the way to a test set."""
    pipeline = Pipeline(MemoryWriter(), "set", LOG_HEAD)
    try:
        pipeline.feed(data)
    except EventError:
        return
    pipeline.settle()
    pipeline.finish(None, 1.0, 0)


def read_wire(data: bytes) -> None:
    """Any bytes over a connection that the kernel told of: found out what it is, parsed, built."""
    role = SocketRole.SERVER if data[:1] == b"\x01" else SocketRole.CLIENT
    one = Socket(address=1)
    records = [one.open(role, ("10.0.0.1", 8080), ("10.0.0.2", 51000))]
    for sender, kind, chunk in read_chunks(data[1:]):
        is_ours = (sender is Sender.CLIENT) == (role == SocketRole.CLIENT)
        if kind == _GAP:
            one.lose(is_ours, len(chunk))
        elif kind == _END:
            records.append(one.end(is_ours))
        elif chunk:
            records.append(one.data(is_ours, chunk))
    read_events(b"".join([*records, one.close()]))


def read_files(data: bytes) -> None:
    """The files of a set, which a person or a disk may have changed."""
    read_journal(data)
    for read in (read_edited_case, read_manifest):
        try:
            read(data)
        except ValueError:
            continue
    try:
        while read_mock(file := io.BytesIO(data)) is not None and file.tell() < len(data):
            data = data[file.tell() :]
    except MockFileError:
        return


def with_head(kind: int, tail: bytes) -> bytes:
    """A ring record of a kind."""
    return make_record(HEAD.pack(1000, 1, 1000, 100, 101, kind, 0, 0, 0, 0) + tail)


def _bind(function: Callable[[ProtocolSpec, bytes], None], spec: ProtocolSpec) -> Target:
    return lambda data: function(spec, data)


def list_targets() -> dict[str, Target]:
    """All of them by name."""
    targets: dict[str, Target] = {
        "tls": read_tls,
        "java": read_java,
        "events": read_events,
        "wire": read_wire,
        "files": read_files,
    }
    for name, spec in load_protocols().items():
        for function in (watch, detect, serve):
            targets[f"{name}-{function.__name__}"] = _bind(function, spec)
    return targets
