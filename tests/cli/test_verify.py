"""``kebpf verify``: what it changes on the disk, what it says, and its exit status."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kebpf.cli import verify
from kebpf.cli.errors import ExitStatus, KebpfError, NothingToRunError
from kebpf.cli.options import RecordOptions, VerifyOptions
from kebpf.cli.verify import verify_in, verify_recording
from kebpf.recording.store import TestSet, TestSetWriter
from kebpf.replay.setrun import Environment
from tests.recording.builders import make_manifest
from tests.replay.sets import PROTOCOLS
from tests.replay.test_verifier import Proof


class Desk:
    """A test set on disk for the application of `Proof`, and how to verify it."""

    def __init__(self, folder: Path) -> None:
        (folder / "app").mkdir()
        self.proof = Proof(folder / "app")
        self.path = folder / "set"
        self.out = io.StringIO()
        recorded = self.proof.stand.make_set("a", "b", "c")
        writer = TestSetWriter(self.path)
        for _, mock in recorded.iter_mocks():
            writer.add_mock(mock)
        for case in recorded.cases():
            writer.add_case(case)
        writer.commit(make_manifest())

    def verify(self, mode: str, **options: Any) -> int:
        stand = self.proof.stand
        environment = Environment(
            stand.make_steering, stand.make_group, protocols=lambda: PROTOCOLS
        )
        command = list(stand.make_options(mode).command)
        asked = VerifyOptions([self.path], command, runs=2, **options)
        return verify_in(environment, asked, self.out)

    def read(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes()
            for path in self.path.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    yield Desk(tmp_path)


def test_a_class_found_is_written_and_the_set_is_good(desk: Desk) -> None:
    assert desk.verify("drift") == ExitStatus.PASSED
    [case] = [case for case in TestSet.open(desk.path).cases() if case.name == "b"]
    assert case.generated["/body/rate"] == case.verified[0]["class"]
    text = desk.out.getvalue()
    assert "generalised b\n  /body/rate\n" in text
    assert text.splitlines()[-2].startswith("3 cases passed after 4 runs")
    verified = TestSet.open(desk.path).manifest.verified
    assert (verified["runs"], verified["passed"], verified["generalised"]) == (4, 3, 1)


def test_a_case_set_apart_is_moved_and_the_status_says_so(desk: Desk) -> None:
    before = desk.read()
    assert desk.verify("status", as_json=True) == ExitStatus.CASE_FAILED
    after = desk.read()
    assert {name for name in after if before.get(name) != after[name]} == {
        "test-set.yaml",
        "set-apart/b.yaml",
    }
    assert "tests/b.yaml" not in after
    [line] = desk.out.getvalue().splitlines()
    document = json.loads(line)
    assert document["exit_status"] == 1
    [found] = document["test_sets"]
    assert found["set_apart"] == {"b": "the status was 200 and is 500"}


@pytest.mark.parametrize("mode", ["exit", "broken"])
def test_what_proves_nothing_changes_nothing(desk: Desk, mode: str) -> None:
    before = desk.read()
    with pytest.raises(KebpfError, match="was left as it is") as raised:
        desk.verify(mode)
    assert raised.value.exit_status == ExitStatus.ENVIRONMENT
    assert desk.read() == before
    assert (raised.value.hint is None) and ("no configuration" in str(raised.value)) == (
        mode == "exit"
    )


def test_a_port_that_is_held_is_named(desk: Desk) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", desk.proof.stand.port))
        holder.listen()
        with pytest.raises(KebpfError) as raised:
            desk.verify("same")
    hint = raised.value.hint or ""
    assert f"something still listens on port {desk.proof.stand.port}" in hint


def test_a_set_without_cases_starts_nothing(desk: Desk, tmp_path: Path) -> None:
    TestSetWriter(tmp_path / "empty").commit(make_manifest())
    desk.path = tmp_path / "empty"
    with pytest.raises(NothingToRunError):
        desk.verify("same")


def record_for(desk: Desk, **options: Any) -> RecordOptions:
    return RecordOptions(output=desk.path.parent, name="set", verify_runs=1, **options)


def test_a_recording_whose_command_is_not_known_is_kept(desk: Desk) -> None:
    with pytest.raises(KebpfError, match="was not said") as raised:
        verify_recording(record_for(desk, unit="shop.service"), None, desk.out)
    hint = raised.value.hint or ""
    assert hint.startswith("the recording is whole; verify it with: kebpf verify ")
    assert hint.endswith('/set -c "COMMAND"')


def test_a_recorded_process_that_holds_its_port_has_to_be_ended(desk: Desk) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", desk.proof.stand.port))
        holder.listen()
        with pytest.raises(KebpfError, match="still listens on port") as raised:
            verify_recording(record_for(desk, pids=[4711]), Path("/"), desk.out)
    assert str(desk.proof.stand.port) in raised.value.message


def test_the_command_line_recorded_is_used_where_no_other_is_known(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[VerifyOptions] = []

    def remember(options: VerifyOptions, out: object) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(verify, "run_verify", remember)
    assert verify_recording(record_for(desk, pids=[4711]), Path("/srv"), desk.out) == 0
    assert asked[0].command == [
        "/bin/sh", "-c", 'cd "$0" && exec "$@"', "/srv", "python", "app.py",
    ]  # fmt: skip
    assert "in /srv and in this environment, not that of the process" in capsys.readouterr().err
    verify_recording(record_for(desk, pids=[4711], verify_command="serve"), None, desk.out)
    assert (asked[1].command, asked[1].runs, asked[1].test_sets) == ("serve", 1, [desk.path])
