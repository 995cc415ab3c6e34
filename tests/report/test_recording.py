"""How a recording is shown as it goes, as whole text."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from kebpf.report.recording import LiveDisplay, PlainDisplay, open_display, wrap
from tests.report.builders import RECORDED_PATH as PATH
from tests.report.builders import make_recorded as make_status


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_a_terminal_shows_destinations_and_ends_with_the_same_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # lines have 80 all the same
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
    assert text.splitlines()[-1] == "  captured 100 % of 482,113 bytes on 12 connections"
    text = text.replace("\n  ", " ")
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


def test_lines_are_wrapped_but_for_paths() -> None:
    path = f"/srv/{'a' * 40}-b-{'c' * 40}"
    assert wrap(f"5 test cases → {path}; captured", 40) == [
        "5 test cases →",
        f"  {path};",
        "  captured",
    ]


def test_what_happens_meanwhile_is_said_on_both() -> None:
    sentence = "unit shop.service has stopped: waiting for it to start again"
    for out in (io.StringIO(), FakeTerminal()):
        display = open_display(out)
        display.start("recording")
        display.announce(sentence)
        display.close()
        assert sentence in out.getvalue()
