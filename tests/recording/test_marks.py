"""How often a recording says where it stands, by a clock of this test's own."""

from __future__ import annotations

from kebpf.recording.marks import MARK_SECONDS, SYNC_SECONDS, Marks


def test_only_what_is_new_and_not_too_often() -> None:
    now = [100.0]
    marks = Marks(lambda: now[0])
    assert marks.is_due(0) and not marks.is_due(1)
    now[0] += MARK_SECONDS
    assert marks.is_due(1) and not marks.is_due(1)
    now[0] += 2 * MARK_SECONDS
    assert not marks.is_due(1)
    assert marks.seconds == 3 * MARK_SECONDS


def test_the_disk_is_seen_to_when_there_is_something_new() -> None:
    now = [0.0]
    marks = Marks(lambda: now[0])
    now[0] = SYNC_SECONDS
    assert not marks.is_sync_due()
    assert marks.is_due(1) and marks.is_sync_due() and not marks.is_sync_due()
    now[0] = 2 * SYNC_SECONDS - 1
    assert marks.is_due(2) and not marks.is_sync_due()
    now[0] += 1
    assert marks.is_sync_due()
