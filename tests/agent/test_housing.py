"""Where sets are kept: folders of a user's own, and a number of bytes for all."""

from __future__ import annotations

import io
import os
import pwd
from pathlib import Path

import pytest

from kebpf.agent import housing
from kebpf.agent.housing import Disk, HousingError, choose_sandbox, make_target_folder
from kebpf.agent.journal import Journal
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.quota import QuotaKeeper
from tests.agent.builders import running
from tests.agent.test_watching import making_bench, write_program
from tests.recording.test_quota import make_set


def test_who_parses_is_who_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    journal = Journal(log, {})
    assert choose_sandbox("nobody", journal) == Sandbox("nobody")
    with pytest.raises(HousingError, match="there is no user 'no-such-user'"):
        choose_sandbox("no-such-user", journal)
    with pytest.raises(HousingError, match="is root"):
        choose_sandbox("root", journal)
    monkeypatch.setattr(housing, "DEFAULT_USER", "no-such-user")
    assert choose_sandbox(None, journal) is None
    [warning] = log.getvalue().splitlines()
    assert "parsed as root, unconfined" in warning
    assert "useradd" in warning


@pytest.mark.kernel
def test_a_target_has_a_folder_of_that_users(tmp_path: Path) -> None:
    make_target_folder(tmp_path / "shop", Sandbox("nobody"))
    status = (tmp_path / "shop").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o700)
    (tmp_path / "link").symlink_to(tmp_path)
    make_target_folder(tmp_path / "link", Sandbox("nobody"))
    assert tmp_path.stat().st_uid == os.geteuid()
    (tmp_path / "file").touch()
    make_target_folder(tmp_path / "file", Sandbox("nobody"))


def test_the_oldest_sets_go_first(tmp_path: Path) -> None:
    log = io.StringIO()
    sets = [make_set(tmp_path / "shop", f"set-{n}", n) for n in (1, 2, 3)]
    size = QuotaKeeper(1 << 30, headroom=0).look([tmp_path / "shop"]).used
    disk = Disk(tmp_path, int(size * 0.9), Journal(log, {}))
    assert not disk.look([])
    assert [path.exists() for path in sets] == [False, True, True]
    assert f"{sets[0]} was dropped" in log.getvalue()
    assert not Disk(tmp_path, None, Journal(log, {})).look([])


def test_what_is_being_recorded_is_ended_where_that_alone_does_not_do(tmp_path: Path) -> None:
    log = io.StringIO()
    program = write_program(tmp_path / "app")
    with making_bench(tmp_path) as bench, running(*program) as one:
        bench.chosen.pids = {one.pid}
        bench.wait_watched({one.pid})
        bench.folder.mkdir()
        (bench.folder / ".x.unfinished-1").write_bytes(bytes(1 << 20))
        disk = Disk(tmp_path, 1 << 20, Journal(log, {}))
        assert disk.look([bench.watch])
        assert not disk.look([bench.watch])
        bench.wait_until(lambda: len(bench.names()) == 2)
        bench.wait_watched({one.pid})
    assert "new ones begin" in log.getvalue()
