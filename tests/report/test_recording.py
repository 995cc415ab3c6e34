"""What people see of a recording, as whole text."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from kebpf.report.recording import (
    LiveDisplay,
    PlainDisplay,
    RecordingStatus,
    describe_opening,
    describe_subject,
    open_display,
    show_share,
    summarise,
    summary_object,
)

PATH = Path("kebpf/shop-1")


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_status(**changes: object) -> RecordingStatus:
    status = RecordingStatus(
        requests=31,
        test_cases=28,
        mocks=112,
        events=900,
        captured_bytes=482_113,
        connections=12,
        seconds=12.4,
    )
    for name, value in changes.items():
        setattr(status, name, value)
    return status


def test_opening_lines() -> None:
    command = "python3.11 uvicorn shop:app"
    assert describe_opening("pid 4711", command, 3) == (
        "recording pid 4711 (python3.11 uvicorn shop:app), 3 connections already open; "
        "Ctrl-C ends it"
    )
    assert describe_opening("pid 1", "a\n\x1b", 0) == "recording pid 1 (a \\x1b); Ctrl-C ends it"


def test_what_is_recorded() -> None:
    assert describe_subject("", [4711], 3) == "pid 4711"
    assert describe_subject("", [1, 2], 3) == "pids 1, 2"
    assert describe_subject("unit shop.service", [9], 1) == "unit shop.service, 1 process"
    assert describe_subject("container web", [9], 3) == "container web, 3 processes"


def test_connections_left_out_are_said() -> None:
    lines = summarise(make_status(filtered={"--port": 3, "--inbound-only": 1}), PATH)
    assert lines[1:] == [
        "3 connections left out by --port",
        "1 connection left out by --inbound-only",
    ]


def test_a_recording_in_a_log() -> None:
    out = io.StringIO()
    display = open_display(out)
    display.start("recording pid 1 (shop); Ctrl-C ends it")
    for tenths in range(0, 250, 5):
        display.update(make_status(seconds=tenths / 10))
    display.finish(make_status(), PATH)
    display.close()
    assert (
        out.getvalue()
        == """\
recording pid 1 (shop); Ctrl-C ends it
10 s: 31 requests, 28 test cases, 112 mocks, 482,113 bytes
20 s: 31 requests, 28 test cases, 112 mocks, 482,113 bytes
28 test cases, 112 mocks from 31 requests in 12.4 s → kebpf/shop-1; \
captured 100 % of 482,113 bytes on 12 connections
"""
    )


def test_what_was_not_got_is_said() -> None:
    status = make_status(
        lost_events=1,
        lost_bytes=1,
        unparsed_connections=2,
        left_out={"cut off at the end": 1, "statement prepared before attach": 3},
        notes=["pid 4 uses io_uring"],
    )
    assert summarise(status, PATH)[1:] == [
        "lost: 1 event and 1 byte lost; no case they belong to was kept",
        "not parsed: 2 connections, in no protocol known here",
        "left out: 3 exchanges: statement prepared before attach",
        "left out: 1 exchange: cut off at the end",
        "note: pid 4 uses io_uring",
    ]


def test_one_lost_byte_is_not_100_per_cent() -> None:
    assert show_share(make_status(captured_bytes=10**9, lost_bytes=1)) == "99.99 %"
    assert show_share(make_status(captured_bytes=0)) == "100 %"
    assert show_share(make_status(captured_bytes=0, lost_bytes=5)) == "0.00 %"


def test_the_summary_object() -> None:
    assert summary_object(make_status(left_out={"why": 2}, filtered={"--port": 3}), PATH) == {
        "test_cases": 28,
        "mocks": 112,
        "events": 900,
        "bytes": 482_113,
        "lost_events": 0,
        "lost_bytes": 0,
        "connections": 12,
        "proven_connections": 0,
        "unbalanced_connections": 0,
        "given_up_connections": 0,
        "given_up_bytes": 0,
        "unparsed_connections": 0,
        "seconds": 12.4,
        "path": "kebpf/shop-1",
        "left_out": {"why": 2},
        "left_out_connections": {"--port": 3},
    }


def test_a_terminal_shows_destinations_and_ends_with_the_same_summary() -> None:
    out = FakeTerminal()
    display = open_display(out)
    assert isinstance(display, LiveDisplay)
    display.start("recording pid 1 (shop); Ctrl-C ends it")
    display.update(
        make_status(destinations={"10.0.0.5:5432": {"protocol": "postgres", "calls": 90}})
    )
    display.finish(make_status(), PATH)
    plain = io.StringIO()
    PlainDisplay(plain).finish(make_status(), PATH)
    text = out.getvalue()
    assert text.startswith("recording pid 1")
    assert "10.0.0.5:5432  90 calls" in text
    assert text.endswith(plain.getvalue())


def test_plain_recording_does_not_load_rich() -> None:
    program = (
        "import io, sys; from kebpf.report.recording import open_display; "
        "open_display(io.StringIO()).start('x'); "
        "sys.exit(any(name.split('.')[0] == 'rich' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_program_that_only_makes_calls() -> None:
    status = make_status(requests=0, test_cases=0, mocks=1204, seconds=3.0)
    assert summarise(status, PATH)[:2] == [
        "no requests were served; 1,204 calls recorded as mocks in 3.0 s → kebpf/shop-1; "
        "captured 100 % of 482,113 bytes on 12 connections",
        "to run a command on these mocks: kebpf mock kebpf/shop-1 -- COMMAND",
    ]
    assert "0 test cases, 0 mocks from 0 requests" in summarise(make_empty(), PATH)[0]
    status = make_status(requests=0, test_cases=0, mocks=0, left_out={"too long": 3})
    lines = summarise(status, PATH)
    assert lines[0].startswith("no requests were served; 0 calls recorded as mocks in 12.4 s")
    assert lines[1:] == ["left out: 3 exchanges: too long"]


def make_empty() -> RecordingStatus:
    return make_status(requests=0, test_cases=0, mocks=0)
