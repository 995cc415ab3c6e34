"""Recordings that were cut off are made sets of, as the user they belong to."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kebpf.agent.recovering import Recoverer
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.store import TestSet
from tests.recording.cutting import write_unfinished

PATIENCE_SECONDS = 60.0
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that any user may look into, with a recording that was cut off."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        sets = Path(name, "shop")
        sets.mkdir(0o700)
        write_unfinished(sets, 3)
        yield sets


def await_sentences(recoverer: Recoverer) -> list[str]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (sentences := recoverer.look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return sentences


def test_what_was_complete_is_kept_and_said(folder: Path) -> None:
    recoverer = Recoverer(None, lambda: None)
    recoverer.ask(folder)
    [sentence] = await_sentences(recoverer)
    [one] = folder.iterdir()
    assert sentence.startswith(f"{one} was cut off: 3 test cases and ")
    assert len(TestSet.open(one).cases()) == 3
    recoverer.close()


@pytest.mark.kernel
def test_it_is_done_as_another_user(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    recoverer = Recoverer(Sandbox("nobody"), lambda: None)
    recoverer.ask(folder)
    await_sentences(recoverer)
    [one] = folder.iterdir()
    assert one.stat().st_uid == NOBODY.pw_uid
    recoverer.close()


@pytest.mark.kernel
def test_what_cannot_be_recovered_is_said_and_tried_again(folder: Path) -> None:
    recoverer = Recoverer(Sandbox("nobody"), lambda: None)
    recoverer.ask(folder)
    [problem] = await_sentences(recoverer)
    assert str(folder) in problem
    assert "Permission denied" in problem
    recoverer.close()


def test_nothing_there_is_nothing_said(folder: Path) -> None:
    shutil.rmtree(folder)
    recoverer = Recoverer(None, lambda: None)
    recoverer.ask(folder)
    assert recoverer.look() == []
    recoverer.close()
    assert recoverer.look() == []
