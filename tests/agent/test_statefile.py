"""What the agent knows over its restarts, and what becomes of it when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kebpf.agent.statefile import STATE_NAME, StateFile

TARGETS = {"shop": {"version": "1a", "last_set": "/x/y"}}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    assert (state.targets, state.warning) == ({}, "")
    state.write(TARGETS)
    again = StateFile(tmp_path)
    assert (again.targets, again.warning) == (TARGETS, "")
    assert (tmp_path / STATE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"format": 2, "targets": {}}', b'{"format": 1}', b"\0" * 99],
)
def test_a_damaged_one_is_put_aside_with_a_warning(tmp_path: Path, content: bytes) -> None:
    for number in (1, 2):
        (tmp_path / STATE_NAME).write_bytes(content)
        state = StateFile(tmp_path)
        assert state.targets == {}
        assert f"put aside as {STATE_NAME}.damaged-{number}" in state.warning
        assert (tmp_path / f"{STATE_NAME}.damaged-{number}").read_bytes() == content
        state.write(TARGETS)
    assert json.loads((tmp_path / STATE_NAME).read_text())["targets"] == TARGETS


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"format": 1, "targets": TARGETS}))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / STATE_NAME).symlink_to(secret)
    state = StateFile(folder)
    assert state.targets == {}
    state.write({})
    assert json.loads(secret.read_text())["targets"] == TARGETS
