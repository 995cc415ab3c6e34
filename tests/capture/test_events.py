"""The contract between the probes and user space, checked by the C compiler, and its decoding."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture import events
from kebpf.capture.events import (
    CLOSE_TAIL,
    GIVEN_UP_TAIL,
    HELD_TAIL,
    LOSS_TAIL,
    MOST_RECORD_SIZE,
    OPEN_TAIL,
    PIECE_TAIL,
    PROCESS_TAIL,
    TASK_TAIL,
    Close,
    Data,
    Direction,
    End,
    EventError,
    GapReason,
    Kind,
    Listen,
    Lost,
    Open,
    Operation,
    Overlap,
    Process,
    ProcessChange,
    SocketRole,
    Task,
    Transport,
    decode_event,
    decode_run,
    split_records,
    whole_size,
)
from kebpf.capture.head import HEAD, Head
from kebpf.capture.tlsevents import MARK_TAIL, PLAIN_TAIL, SESSION_TAIL, TLS_CODE_TAIL, Library
from tests.capture.records import Socket, make_record

BPF = Path(__file__).parents[2] / "bpf"

# struct of events.h → (Python format, what precedes it, its members in order)
LAYOUTS = {
    "kebpf_head": (
        HEAD,
        0,
        "time_ns socket generation pid tid kind direction transport overlaps sequence",
    ),
    "kebpf_piece": (PIECE_TAIL, HEAD.size, "offset size call_size call_offset reason task"),
    "kebpf_open": (
        OPEN_TAIL,
        HEAD.size,
        "ingress_before egress_before ingress_sequence egress_sequence inode local remote"
        " local_port remote_port family role reserved local_path remote_path process",
    ),
    "kebpf_close": (CLOSE_TAIL, HEAD.size, "moved[0] moved[1] lost[0] lost[1]"),
    "kebpf_process": (PROCESS_TAIL, HEAD.size, "child change"),
    "kebpf_given_up": (GIVEN_UP_TAIL, HEAD.size, "dropped[0] dropped[1]"),
    "kebpf_loss": (LOSS_TAIL, HEAD.size, "since_ns"),
    "kebpf_held": (HELD_TAIL, HEAD.size, "inode port is_last"),
    "kebpf_task": (TASK_TAIL, HEAD.size, "task parent"),
    "kebpf_plain": (
        PLAIN_TAIL,
        HEAD.size,
        "session session_generation offset size call_size call_offset reason task",
    ),
    "kebpf_mark": (MARK_TAIL, HEAD.size, "session session_generation size bytes"),
    "kebpf_session": (SESSION_TAIL, HEAD.size, "session session_generation moved[0] moved[1]"),
    "kebpf_tls_code": (TLS_CODE_TAIL, HEAD.size, "library is_read name"),
}
ENUMS: dict[str, dict[str, int]] = {
    "KEBPF_": {
        **{member.name: member.value for member in Kind},
        **{member.name: member.value for member in Direction},
        **{member.name: member.value for member in Transport},
        **{member.name: member.value for member in ProcessChange},
        **{member.name: member.value for member in Operation},
        **{member.name: member.value for member in Library},
    },
    "KEBPF_GAP_": {member.name: member.value for member in GapReason},
    "KEBPF_OVERLAP_": {member.name: member.value for member in Overlap},
    "KEBPF_ROLE_": {member.name: member.value for member in SocketRole},
}
CONSTANTS = {
    prefix + name: value for prefix, names in ENUMS.items() for name, value in names.items()
}


def make_layout_program() -> str:
    """A C program that prints what the compiler makes of events.h as JSON."""
    lines = []
    for name, (_, _, members) in LAYOUTS.items():
        lines.append(f'printf("\\"{name}\\": {{\\"size\\": %zu", sizeof(struct {name}));')
        for member in members.split():
            place = f"offsetof(struct {name}, {member})"
            size = f"sizeof(((struct {name} *)0)->{member})"
            lines.append(f'printf(", \\"{member}\\": [%zu, %zu]", {place}, {size});')
        lines.append('printf("}, ");')
    for name in (*CONSTANTS, "KEBPF_CHUNK"):
        lines.append(f'printf("\\"{name}\\": %d, ", {name});')
    body = "\n    ".join(lines)
    return f"""
#include "events.h"
#include <stddef.h>
#include <stdio.h>

int main(void) {{
    printf("{{");
    {body}
    printf("\\"end\\": 0}}");
    return 0;
}}
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Sizes and places of all members, by gcc."""
    folder = tmp_path_factory.mktemp("layout")
    source, program = folder / "layout.c", folder / "layout"
    source.write_text(make_layout_program())
    types = folder / "linux"
    types.mkdir()
    # the C library's headers define size_t and others that the probes' own types.h defines too
    text = (BPF / "shim/include/linux/types.h").read_text()
    wanted = [line for line in text.splitlines() if "__u8" in line or "__s8" in line]
    (types / "types.h").write_text("#pragma once\n" + "\n".join(wanted[:2]) + "\n")
    subprocess.run(
        ["gcc", "-Wall", "-Werror", f"-I{folder}", f"-I{BPF}", "-o", str(program), str(source)],
        check=True,
    )
    output = subprocess.run([str(program)], check=True, capture_output=True).stdout
    made: dict[str, object] = json.loads(output)
    return made


def members_of(layout: struct.Struct, before: int, names: str) -> dict[str, list[int]]:
    """Offset and size of each member, from a Python format."""
    codes = layout.format.lstrip("=")
    fields, count = [], ""
    for code in codes:
        if code.isdigit():
            count += code
            continue
        fields.append(count + code)
        count = ""
    places, offset = {}, before
    for name, field in zip(names.split(), fields, strict=True):
        size = struct.calcsize("=" + field)
        places[name] = [offset, size]
        offset += size
    return places


@pytest.mark.parametrize("name", LAYOUTS)
def test_formats_are_those_of_the_compiler(layout: dict[str, object], name: str) -> None:
    python, before, members = LAYOUTS[name]
    expected = {"size": before + python.size, **members_of(python, before, members)}
    assert layout[name] == expected


def test_numbers_are_those_of_the_compiler(layout: dict[str, object]) -> None:
    assert {name: layout[name] for name in CONSTANTS} == CONSTANTS
    assert layout["KEBPF_CHUNK"] == MOST_RECORD_SIZE - HEAD.size - PLAIN_TAIL.size


def decode_one(record: bytes) -> events.Event:
    (event,) = decode_run(record)
    return event


HEAD_OF_FIRST = Head(1_001_000, 0xFFFF888812345678, 1000, 100, 101, 0, Transport.TCP, 0)


def test_a_task() -> None:
    event = decode_one(Socket().task_made(9, 5))
    assert isinstance(event, Task)
    assert (event.head.pid, event.task, event.parent) == (100, 9, 5)


def test_the_task_that_sent_bytes() -> None:
    event = decode_one(Socket(task=77).send(b"hello"))
    assert isinstance(event, Data)
    assert event.task == 77


def test_data() -> None:
    event = decode_one(Socket().send(b"hello"))
    assert event == Data(
        Head(1_001_000, 0xFFFF888812345678, 1000, 100, 101, Direction.EGRESS, Transport.TCP, 7000),
        0,
        5,
        5,
        0,
        b"hello",
    )
    assert event.head.connection == (0xFFFF888812345678, 1000)


def test_gap_says_why_and_in_which_call() -> None:
    event = decode_one(Socket().gap(Direction.INGRESS, 99, GapReason.NO_BUFFER, Operation.SPLICE))
    assert isinstance(event, Lost)
    assert (event.size, event.reason, event.cause) == (99, GapReason.NO_BUFFER, "by splice")
    assert (event.head.direction, event.head.sequence) == (Direction.INGRESS, 5000)


def test_open_with_ipv4() -> None:
    event = decode_one(Socket().open(SocketRole.SERVER, before=(3, 4), inode=55))
    assert event == Open(
        HEAD_OF_FIRST,
        3,
        4,
        5000,
        7000,
        55,
        2,
        SocketRole.SERVER,
        "10.0.0.1",
        40000,
        "10.0.0.2",
        80,
        "shop",
    )


def make_open6(local: str, remote: str) -> bytes:
    record = bytearray(Socket().open(family=10))
    at = record.index(bytes([10, 0, 0, 1]))
    record[at : at + 32] = bytes.fromhex(local + remote)
    return bytes(record)


def test_open_with_ipv6_and_mapped_ipv4() -> None:
    event = decode_one(
        make_open6("20010db8000000000000000000000001", "00000000000000000000ffffc0a80107")
    )
    assert isinstance(event, Open)
    assert (event.local, event.remote) == ("2001:db8::1", "192.168.1.7")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/run/db.sock", "/run/db.sock"),
        (b"/run/db.sock\0garbage", "/run/db.sock"),
        (b"\0abstract", "@abstract"),
        (b"/run/\xff", "/run/\\xff"),
        (b"", ""),
        (b"/" + b"p" * 107, "/" + "p" * 107),
    ],
)
def test_open_with_paths(raw: bytes, shown: str) -> None:
    socket = Socket(transport=Transport.UNIX_STREAM)
    event = decode_one(socket.open(paths=(raw, b"/other"), family=1))
    assert isinstance(event, Open)
    assert (event.local, event.remote) == (shown, "/other")


@pytest.mark.parametrize(
    ("transport", "before", "has_moved"),
    [
        (Transport.TCP, (0, 0), False),
        (Transport.TCP, (0, 1), False),  # the SYN
        (Transport.TCP, (1, 0), True),
        (Transport.TCP, (0, 2), True),
        (Transport.UDP, (9, 9), False),
    ],
)
def test_whether_bytes_had_moved(
    transport: Transport, before: tuple[int, int], has_moved: bool
) -> None:
    event = decode_one(Socket(transport=transport).open(before=before))
    assert isinstance(event, Open)
    assert event.has_moved is has_moved


def test_the_other_kinds() -> None:
    socket = Socket()
    assert decode_one(socket.end(Direction.INGRESS)) == End(replace(HEAD_OF_FIRST, sequence=5000))
    assert isinstance(decode_one(socket.open(kind=Kind.LISTEN)), Listen)
    socket.moved = [7, 8]
    closed = decode_one(socket.close())
    assert isinstance(closed, Close)
    assert (closed.moved, closed.lost) == ((7, 8), (0, 0))
    forked = decode_one(socket.process(ProcessChange.FORK, 77))
    assert isinstance(forked, Process)
    assert (forked.child, forked.change) == (77, ProcessChange.FORK)


def test_a_run_gives_its_events_in_order_without_discarded_ones() -> None:
    socket = Socket()
    run = (
        socket.open()
        + make_record(b"thrown away", flags=1 << 30)
        + socket.send(b"a")
        + socket.send(b"bc")
        + socket.close()
    )
    assert [type(event) for event in decode_run(run)] == [Open, Data, Data, Close]


def damage(record: bytes, at: int, value: int) -> bytes:
    """A record with one byte of its payload changed."""
    changed = bytearray(record)
    changed[8 + at] = value
    return bytes(changed)


KIND_AT, DIRECTION_AT, TRANSPORT_AT = 32, 33, 34
SIZE_AT = HEAD.size + 8


@pytest.mark.parametrize(
    "record",
    [
        make_record(b""),
        make_record(bytes(HEAD.size - 1)),
        make_record(bytes(HEAD.size)),  # kind 0
        damage(Socket().send(b"x"), KIND_AT, 12),
        damage(Socket().send(b"x"), DIRECTION_AT, 2),
        damage(Socket().send(b"x"), TRANSPORT_AT, 0),
        damage(Socket().send(b"x"), TRANSPORT_AT, 5),
        damage(Socket().send(b"x"), SIZE_AT, 2),
        damage(Socket().send(b"x"), SIZE_AT, 0),
        damage(Socket().end(0), KIND_AT, Kind.CLOSE),
        damage(Socket().send(b"x"), KIND_AT, Kind.OPEN),
        Socket().open(role=3),
        make_record(Socket().head(Kind.PROCESS) + struct.pack("<II", 1, 9)),
    ],
)
def test_damage_is_an_error(record: bytes) -> None:
    with pytest.raises(EventError):
        list(decode_run(record + Socket().send(b"behind it, room enough for anything" * 20)))


@pytest.mark.parametrize("flags", [1 << 31, 1 << 29])
def test_a_length_that_is_none_is_an_error(flags: int) -> None:
    record = make_record(b"x" * 16, flags)
    with pytest.raises(EventError):
        list(split_records(record))
    with pytest.raises(EventError):
        whole_size(record)


@given(st.lists(st.binary(max_size=60), max_size=8), st.binary(max_size=80))
def test_any_bytes_give_events_or_an_error(payloads: list[bytes], tail: bytes) -> None:
    run = b"".join(map(make_record, payloads)) + tail
    try:
        list(decode_run(run))
    except EventError:
        return


@given(st.binary(min_size=HEAD.size, max_size=500))
def test_any_payload_is_an_event_or_an_error(payload: bytes) -> None:
    try:
        decode_event(payload, 0, len(payload))
    except EventError:
        return


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_whole_records_can_be_cut_anywhere(payloads: list[bytes], data: st.DataObject) -> None:
    run = b"".join(map(make_record, payloads))
    cut = data.draw(st.integers(0, len(run)))
    whole = whole_size(run[:cut])
    assert whole <= cut
    first = [run[at:end] for at, end in split_records(run[:whole])]
    rest = [run[whole:][at:end] for at, end in split_records(run[whole:])]
    assert first + rest == payloads
    following = run[whole:cut]
    assert len(following) < 8 or len(following) < 8 + struct.unpack_from("<I", following)[0] + 7


def test_a_record_cut_off_is_an_error() -> None:
    run = Socket().send(b"hello")
    for size in range(1, len(run) - 2):
        if size >= 8 + HEAD.size + PIECE_TAIL.size + 5:
            continue  # only padding is missing
        with pytest.raises(EventError):
            list(decode_run(run[:size]))
