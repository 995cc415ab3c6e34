"""A run without TLS makes nothing of it; one with it is trusted in the stores there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.recording.model import Tls
from kebpf.replay.keystores import read_pem
from kebpf.replay.launch import LaunchError
from kebpf.replay.routing import Routes
from kebpf.replay.runtls import RunAuthority, RunTls
from tests.recording.builders import make_mock


def test_without_a_call_over_tls_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = RunAuthority()
    tls = RunTls(authority, Routes([make_mock()]))
    assert tls.plan_trust("true", {}) is None
    assert "made" not in vars(authority)


def test_the_application_is_shown_the_runs_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    authority = RunAuthority()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(RunAuthority().made.pem)
    tls = RunTls(authority, Routes([make_mock(tls=Tls("db"))]))
    plan = tls.plan_trust(["true"], {"SSL_CERT_FILE": str(bundle)})
    assert plan is not None
    assert authority.made.certificate in read_pem(plan.files[bundle])


def test_a_file_that_a_person_names_is_enough_and_must_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tls = RunTls(RunAuthority(), Routes())
    named = tmp_path / "named"
    with pytest.raises(LaunchError, match="named"):
        tls.plan_trust("true", {}, [named])
    named.write_bytes(RunAuthority().made.pem)
    plan = tls.plan_trust("true", {}, [named])
    assert plan is not None
    assert named in plan.files


def test_passwords_are_looked_for_where_postgres_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"PGCHANNELBINDING": "require", "PGPASSWORD": "pw"}
    with_postgres = RunTls(RunAuthority(), Routes([make_mock()]))
    assert list(with_postgres.find_login("true", environment).passwords) == ["pw"]
    without = RunTls(RunAuthority(), Routes([make_mock(protocol="redis")]))
    assert not without.find_login("true", environment).passwords
