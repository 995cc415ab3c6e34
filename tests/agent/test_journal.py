"""The agent's log lines."""

from __future__ import annotations

import io

from kebpf.agent.journal import Journal


def test_journald_is_told_the_priority() -> None:
    out = io.StringIO()
    journal = Journal(out, {"JOURNAL_STREAM": "8:1"})
    journal.info("a")
    journal.notice("b")
    journal.warn("c")
    journal.error("d")
    assert out.getvalue().splitlines() == ["<6>a", "<5>b", "<4>c", "<3>d"]


def test_an_entry_is_one_line_of_plain_characters() -> None:
    out = io.StringIO()
    Journal(out, {}).info("one\ntwo\x1b[31m\x00" + "x" * 1000)
    [line] = out.getvalue().splitlines()
    assert line.startswith("one two?[31m?xxx")
    assert len(line) == 500
