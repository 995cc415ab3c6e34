"""One agent at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kebpf.agent.lock import AgentLock, SecondAgentError


def test_a_second_one_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    first = AgentLock(path)
    with pytest.raises(SecondAgentError, match=rf"runs already \(process {os.getpid()}\)"):
        AgentLock(path)
    first.release()
    AgentLock(path).release()


def test_what_one_left_behind_that_was_killed_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4711\n")
    lock = AgentLock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        AgentLock(tmp_path / "lock")
    assert not (tmp_path / "other").exists()
