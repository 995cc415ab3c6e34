"""What is said of a recording, as whole text."""

from __future__ import annotations

from kebpf.report.recorded import (
    MOST_REASONS,
    RecordingStatus,
    describe_opening,
    describe_progress,
    describe_subject,
    merge_reasons,
    show_share,
    summarise,
    summary_object,
)
from tests.report.builders import RECORDED_PATH as PATH
from tests.report.builders import make_recorded as make_status


def test_opening_lines() -> None:
    command = "python3.11 uvicorn shop:app"
    assert describe_opening("pid 4711", command, 3) == (
        "recording pid 4711 (python3.11 uvicorn shop:app), 3 connections already open; "
        "Ctrl-C ends it"
    )
    assert describe_opening("pid 1", "a \n\x1b ", 0) == "recording pid 1 (a \\x1b); Ctrl-C ends it"
    assert describe_opening("pids 1, 2", command, 0, 2.5, has_others=True) == (
        "recording pids 1, 2 (python3.11 uvicorn shop:app and others); "
        "it ends after 2.5 s, or with Ctrl-C"
    )


def test_what_is_recorded() -> None:
    assert describe_subject("", [4711], 3) == "pid 4711"
    assert describe_subject("", [1, 2], 3) == "pids 1, 2"
    assert describe_subject("unit shop.service", [9], 1) == "unit shop.service, 1 process"
    assert describe_subject("container web", [9], 3) == "container web, 3 processes"


def test_what_is_unique_is_said() -> None:
    status = make_status(requests=12_431, unique=87, test_cases=203, mocks=1)
    assert summarise(status, PATH)[0].startswith(
        "12,431 requests → 87 unique: 203 test cases, 1 mock in "
    )
    assert ": 12,431 requests → 87 unique, 203 test cases" in describe_progress(status)
    assert summary_object(status, PATH)["unique"] == 87


def test_connections_left_out_are_said() -> None:
    lines = summarise(make_status(filtered={"--port": 3, "--inbound-only": 1}), PATH)
    assert lines[1:] == [
        "3 connections left out by --port",
        "1 connection left out by --inbound-only",
    ]


def test_what_was_not_got_is_said() -> None:
    status = make_status(
        lost_events=1,
        lost_bytes=1,
        unparsed={"encrypted (TLS)": 2},
        left_out={"cut off at the end": 1, "statement prepared before attach": 3},
        notes=["pid 4 uses io_uring"],
    )
    assert summarise(status, PATH)[1:] == [
        "lost: 1 event and 1 byte; no case they belong to was kept",
        "not parsed: 2 connections: encrypted (TLS)",
        "left out: 3 exchanges: statement prepared before attach",
        "left out: 1 exchange: cut off at the end",
        "note: pid 4 uses io_uring",
    ]


def test_only_what_was_lost_is_named() -> None:
    [line] = summarise(make_status(lost_bytes=810_528), PATH)[1:]
    assert line == "lost: 810,528 bytes; no case they belong to was kept"


def test_what_was_given_up_says_what_to_do() -> None:
    status = make_status(given_up=2, given_up_bytes=5000, unbalanced={"bytes came twice": 1})
    assert summarise(status, PATH)[1:] == [
        "2 connections given up (5,000 bytes): more came than could be parsed meanwhile; "
        "no case they may belong to was kept; a larger --backlog holds more",
        "1 connection does not add up: bytes came twice; this is an error of kebpf's",
    ]


def test_reasons_that_differ_by_a_name_or_a_size_are_one() -> None:
    reasons = {
        'a call it made cannot be replayed: statement "S_1" was prepared before': 3,
        'a call it made cannot be replayed: statement "S_"2" was prepared before': 4,
        "266 bytes of the response were lost": 1,
        "a call of no test case: 1 byte of the response was lost": 1,
        "1,266 bytes of the response were lost": 2,
        "too long": 5,
    }
    assert merge_reasons(reasons) == [
        ("a call it made cannot be replayed: a statement was prepared before", 7),
        ("too long", 5),
        ("bytes of the response were lost", 3),
        ("a call of no test case: 1 byte of the response was lost", 1),
    ]


def test_reasons_are_bounded() -> None:
    reasons = {f"reason {letter}": 1 for letter in "abcdefghijklm"}
    lines = summarise(make_status(left_out=reasons), PATH)[1:]
    assert len(lines) == MOST_REASONS + 1
    assert lines[0] == "left out: 1 exchange: reason a"
    assert lines[-1] == "left out: 5 exchanges: 5 other reasons"


def test_nothing_to_replay() -> None:
    status = make_status(requests=0, test_cases=0, mocks=0)
    assert summarise(status, PATH)[0].startswith("no test cases and no mocks in 12.4 s → ")
    status.connections = status.captured_bytes = 0
    assert summarise(status, PATH)[1:] == [
        "nothing crossed its sockets meanwhile; `ss -tlnp` shows which process listens where"
    ]
    status.filtered = {"--port": 1}
    assert summarise(status, PATH)[1:] == ["1 connection left out by --port"]


def test_one_lost_byte_is_not_100_per_cent() -> None:
    assert show_share(make_status(captured_bytes=10**9, lost_bytes=1)) == "99.99 %"
    assert show_share(make_status(captured_bytes=0)) == "100 %"
    assert show_share(make_status(captured_bytes=0, lost_bytes=5)) == "0.00 %"


def test_what_was_redacted_is_told_by_kind() -> None:
    status = make_status(redacted={"e-mail address": 1200, "password": 1, "other": 3})
    told = "1,204 values redacted (1,200 e-mail addresses, 1 password, 3 others)"
    assert summarise(status, PATH)[1] == told


def test_the_summary_object() -> None:
    status = make_status(
        left_out={"why": 2},
        redacted={"token": 2},
        filtered={"--port": 3},
        unparsed={"encrypted (TLS)": 2, "too long": 1},
        unbalanced={"came twice": 1},
        destinations={"10.0.0.5:5432": {"protocol": "postgres", "calls": 90}},
        notes=["a note"],
        details={"served": {}},
    )
    assert summary_object(status, PATH) == {
        "test_cases": 28,
        "mocks": 112,
        "events": 900,
        "bytes": 482_113,
        "lost_events": 0,
        "lost_bytes": 0,
        "connections": 12,
        "proven_connections": 0,
        "unbalanced_connections": 1,
        "given_up_connections": 0,
        "given_up_bytes": 0,
        "unparsed_connections": 3,
        "seconds": 12.4,
        "path": "kebpf/shop-1",
        "requests": 31,
        "left_out": {"why": 2},
        "set_apart": {},
        "redacted": {"token": 2},
        "left_out_connections": {"--port": 3},
        "unparsed": {"encrypted (TLS)": 2, "too long": 1},
        "unbalanced": {"came twice": 1},
        "destinations": {"10.0.0.5:5432": {"protocol": "postgres", "calls": 90}},
        "served": {},
        "notes": ["a note"],
    }


def test_a_program_that_only_makes_calls() -> None:
    status = make_status(requests=0, test_cases=0, mocks=1204, seconds=3.0)
    assert summarise(status, PATH)[:2] == [
        "no requests were served; 1,204 calls recorded as mocks in 3.0 s → kebpf/shop-1; "
        "captured 100 % of 482,113 bytes on 12 connections",
        "to run a command on these mocks: kebpf mock kebpf/shop-1 -- COMMAND",
    ]
    status = make_status(requests=0, test_cases=0, mocks=0, left_out={"too long": 3})
    lines = summarise(status, PATH)
    assert lines[0].startswith("no requests were served; 0 calls recorded as mocks in 12.4 s")
    assert lines[1:] == ["left out: 3 exchanges: too long"]


def test_after_the_end_the_line_says_how_far_the_writing_is() -> None:
    status = RecordingStatus(
        requests=9, test_cases=1_200, seconds=5.0, ending_seconds=3.2, backlog_bytes=34_000
    )
    written = "3 s after its end: writing, 1,200 test cases so far"
    assert describe_progress(status) == f"{written}, 34,000 bytes still to be read"
    status.backlog_bytes = 0
    assert describe_progress(status) == written
