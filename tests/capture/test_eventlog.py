"""The event log: what is written is read, and what is damaged is said to be."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kebpf.capture import eventlog
from kebpf.capture.eventlog import EventLog, EventLogWriter, LogHead
from kebpf.capture.events import Data, EventError, Open
from tests.capture.records import Socket, make_record

HEAD = LogHead(
    clock_offset_ns=1_700_000_000_000_000_000,
    pids=[7, 8],
    listening=[8080],
    sockets=[55],
    command=["shop", "--port", "8080"],
    executable="/usr/bin/shop",
    kernel="6.1.0",
)


def write_log(path: Path, *runs: bytes) -> Path:
    writer = EventLogWriter(path)
    writer.begin(HEAD)
    for run in runs:
        writer.write(run)
    writer.close()
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    one = Socket()
    path = write_log(tmp_path / "log", one.open() + one.send(b"a"), one.send(b"b"))
    log = EventLog(path)
    assert log.head == HEAD
    assert [type(event) for event in log.events()] == [Open, Data, Data]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    os.umask(0o022)
    path = write_log(tmp_path / "log")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_owner(tmp_path: Path) -> None:
    EventLogWriter(tmp_path / "log", (os.geteuid(), os.getegid())).close()
    assert (tmp_path / "log").stat().st_uid == os.geteuid()


def test_no_file_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("mine")
    with pytest.raises(FileExistsError):
        EventLogWriter(tmp_path / "log")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        EventLogWriter(tmp_path / "link")
    assert (tmp_path / "log").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_an_abort_leaves_nothing_and_a_close_all(tmp_path: Path) -> None:
    writer = EventLogWriter(tmp_path / "log")
    writer.begin(HEAD)
    writer.abort()
    writer.abort()
    assert not (tmp_path / "log").exists()
    writer = EventLogWriter(tmp_path / "log")
    writer.close()
    writer.abort()
    assert (tmp_path / "log").exists()


@pytest.mark.parametrize("read_size", [1, 3, 64, 1000])
def test_records_across_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_size: int
) -> None:
    monkeypatch.setattr(eventlog, "_READ_SIZE", read_size)
    one = Socket()
    path = write_log(tmp_path / "log", one.open(), *(one.send(bytes([n]) * n) for n in range(20)))
    sizes = [event.size for event in EventLog(path).events() if isinstance(event, Data)]
    assert sizes == list(range(20))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"7\n",
        b"{}\n",
        b'{"version": 3}\n',
        b'{"version": 3, "clock_offset_ns": 0, "pids": [], "surprise": 1}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_log_is_said_to_be_none(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "log").write_bytes(line)
    with pytest.raises(EventError, match="is not a kebpf event log"):
        EventLog(tmp_path / "log")


def test_another_version(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(json.dumps({"version": 99}) + "\n")
    with pytest.raises(EventError, match="an event log of version 99, not 4"):
        EventLog(tmp_path / "log")


def test_the_last_version_is_read(tmp_path: Path) -> None:
    """It has fewer kinds of events, and its head does not say all."""
    head = {"clock_offset_ns": 7, "pids": [1], "version": 3}
    (tmp_path / "log").write_text(json.dumps(head) + "\n")
    assert EventLog(tmp_path / "log").head.with_tls


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EventLog(tmp_path / "log")


def test_a_log_cut_off_gives_what_is_whole_and_then_an_error(tmp_path: Path) -> None:
    one = Socket()
    path = write_log(tmp_path / "log", one.open(), one.send(b"whole"), one.send(b"cut off"))
    path.write_bytes(path.read_bytes()[:-9])
    events = []
    with pytest.raises(EventError, match="ends within a record"):
        for event in EventLog(path).events():
            events.append(event)
    assert [type(event) for event in events] == [Open, Data]


def test_a_length_beyond_reason_is_an_error_at_once(tmp_path: Path) -> None:
    """And not a reason to read the rest of the disk into memory."""
    path = write_log(tmp_path / "log", make_record(b"x")[:4] + b"\xff" * 100)
    path.write_bytes(path.read_bytes().replace(b"\xff", b"\x3f"))
    with pytest.raises(EventError):
        list(EventLog(path).events())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(tail=st.binary(max_size=200))
def test_any_tail_gives_events_or_an_error(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    write_log(path, Socket().open(), tail)
    try:
        list(EventLog(path).events())
    except EventError:
        return
