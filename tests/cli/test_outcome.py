"""What the assembler counted, as the report takes it."""

from __future__ import annotations

from typing import Any

from kebpf.cli.outcome import make_notes, make_status
from kebpf.recording.progress import Progress


def make_unlearned(calls: int) -> dict[str, Any]:
    return {"statements": 1, "names": ["S_1"], "connections": 1, "calls": calls}


def test_bytes_that_could_not_be_followed_are_lost_ones() -> None:
    status = make_status(Progress(lost_size=3, unfollowed_size=4, unparsed={"TLS": 2}))
    assert status.lost_bytes == 7
    assert status.unparsed == {"TLS": 2}


def test_calls_are_told_with_their_protocol() -> None:
    progress = Progress(destinations={"a:1": 3, "b:2": 1}, protocols={"a:1": "redis"})
    assert make_status(progress).destinations == {
        "a:1": {"protocol": "redis", "calls": 3},
        "b:2": {"protocol": "?", "calls": 1},
    }


def test_each_note_is_also_a_fact() -> None:
    progress = Progress(
        served={"redis": (2, 4000)},
        missing_payload=[(7, "nginx", "by sendfile", 1234)],
        unlearned={"db:5432": make_unlearned(9)},
        unbalanced_names=["a to b"],
        unplaced={"db:5432": {"connections": 2, "calls": 4}},
        task_processes=3,
    )
    assert make_notes(progress) == [
        "it does not add up: a to b",
        "2 connections served redis (4,000 bytes, only counted): only HTTP makes test cases",
        'db:5432: 1 statement prepared before the recording ("S_1") on 1 connection; '
        "9 calls by it left out",
        "db:5432: the database of 2 connections that were open before the recording is not known; "
        "4 calls on them will answer in any database",
        "nginx (process 7) moved 1,234 bytes by sendfile: known, not captured",
    ]
    assert make_status(progress).details == {
        "served": {"redis": {"connections": 2, "bytes": 4000}},
        "prepared_before": {"db:5432": make_unlearned(9)},
        "asyncio_processes": 3,
        "database_unknown": {"db:5432": {"connections": 2, "calls": 4}},
        "not_captured": [{"pid": 7, "process": "nginx", "bytes": 1234, "why": "by sendfile"}],
    }


def test_servers_with_statements_prepared_before_are_bounded() -> None:
    servers = {f"db{number}:5432": make_unlearned(number) for number in range(1, 9)}
    notes = make_notes(Progress(unlearned=servers))
    assert notes[0].startswith("db8:5432: ")
    assert len(notes) == 6
    assert notes[-1] == "and statements prepared before for 3 more servers"
