"""Names of the agent's test sets."""

from __future__ import annotations

from pathlib import Path

from kebpf.agent.naming import choose_folder


def choose(parent: Path, *taken: Path) -> str:
    return choose_folder(parent, "2026-11-23", "3f9a", taken).name


def test_each_name_is_given_once(tmp_path: Path) -> None:
    parent = tmp_path / "shop"
    assert choose(parent) == "2026-11-23-3f9a"
    assert choose(parent, parent / "2026-11-23-3f9a") == "2026-11-23-3f9a-2"
    (parent / "2026-11-23-3f9a").mkdir(parents=True)
    assert choose(parent) == "2026-11-23-3f9a-2"
    (parent / ".2026-11-23-3f9a-2.unfinished-x").mkdir()  # what another process writes
    assert choose(parent) == "2026-11-23-3f9a-3"
