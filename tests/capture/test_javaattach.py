"""Attaching to real JVMs: as whom they run, where they live, and those that want no agent."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kebpf.capture.javaattach import JAR, attach_agent, sees_file
from kebpf.capture.jvm import AttachError, Jvm
from kebpf.kernel.processes import find_descendants
from tests.capture.machines import compile_idle, idle, jvm_of, needs_java

pytestmark = [pytest.mark.kernel, needs_java]

NOBODY = 65534


@pytest.fixture(scope="module")
def classes() -> Iterator[Path]:
    """Where any user may read them."""
    with tempfile.TemporaryDirectory() as name:
        yield compile_idle(Path(name))


def count_channels(pid: int) -> int:
    """UDP sockets that speak with themselves (/proc/net/udp6: local and remote are the same)."""
    lines = Path(f"/proc/{pid}/net/udp6").read_text().splitlines()[1:]
    inodes = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}
    return sum(
        f"socket:[{fields[9]}]" in inodes and fields[1] == fields[2]
        for fields in map(str.split, lines)
    )


def await_silence(pid: int) -> None:
    for _ in range(100):
        if not count_channels(pid):
            return
        threading.Event().wait(0.1)
    raise TimeoutError("the agent goes on reporting")


def leftovers(folder: str = "/tmp") -> list[str]:
    names = (one.name for one in Path(folder).iterdir())
    return [name for name in names if name.startswith((".kebpf-", ".attach_pid"))]


@pytest.mark.parametrize("user", [0, NOBODY])
def test_the_agent_reports_until_it_is_let_go_whoever_runs_the_program(
    classes: Path, user: int
) -> None:
    with idle(classes, user=user) as (program, _):
        jvm = jvm_of(program.pid)
        assert (jvm.user, jvm.group, count_channels(jvm.pid)) == (user, user, 0)
        for _ in range(2):
            owner = attach_agent(jvm)
            assert count_channels(jvm.pid) > 0
            os.close(owner)
            await_silence(jvm.pid)
        assert leftovers() == []
        assert program.communicate()[0] == "down\n"


def test_a_program_in_namespaces_of_its_own_is_given_a_copy(classes: Path, tmp_path: Path) -> None:
    """Its /tmp is another one, and it has other process ids, as in a container."""
    tmp_path.chmod(0o1777)
    copied = f"mkdir {tmp_path}/classes && cp {classes}/*.class {tmp_path}/classes"
    script = f'{copied} && mount --bind {tmp_path} /tmp && exec "$@"'
    before = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh")
    with idle(Path("/tmp/classes"), before=before) as (program, _):
        (pid,) = [one for one in find_descendants(program.pid) if is_jvm(one)]
        jvm = jvm_of(pid)
        assert jvm.number < jvm.pid
        with closing(Descriptor(attach_agent(jvm))):
            assert count_channels(pid) > 0
            assert leftovers(str(tmp_path)) == []
        await_silence(pid)


class Descriptor:
    """Of a file, to be closed."""

    def __init__(self, number: int) -> None:
        self._number = number

    def close(self) -> None:
        os.close(self._number)


def is_jvm(pid: int) -> bool:
    with suppress(OSError):
        return "libjvm.so" in Path(f"/proc/{pid}/maps").read_text()
    return False


def test_a_jvm_that_wants_none_is_let_be(classes: Path, tmp_path: Path) -> None:
    """SIGQUIT would have it print all its threads; the option may be in a file."""
    option = "-XX:+DisableAttachMechanism"
    (tmp_path / "options").write_text(option)
    for word in (option, f"@{tmp_path}/options"):
        with idle(classes, word) as (program, _):
            with pytest.raises(AttachError, match="no agent can be put into it"):
                attach_agent(jvm_of(program.pid))
            assert program.communicate()[0] == "down\n"


def test_one_that_takes_no_signals_has_its_socket_from_the_start(classes: Path) -> None:
    with idle(classes, "-Xrs") as (program, _):
        jvm = jvm_of(program.pid)
        assert not jvm.catches_quit
        with closing(Descriptor(attach_agent(jvm))):
            assert count_channels(jvm.pid) > 0


def test_another_machine_and_one_that_refuses_the_jar_are_said_so(
    classes: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jar"
    broken.write_bytes(b"no jar")
    with idle(classes) as (program, _):
        jvm = jvm_of(program.pid)
        with pytest.raises(AttachError, match="is no HotSpot JVM"):
            attach_agent(replace(jvm, is_hotspot=False))
        with pytest.raises(AttachError, match="does not take the agent; it says: "):
            attach_agent(jvm, broken)
        assert leftovers() == []


def test_a_tmp_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """It would lead about on the host."""
    (tmp_path / "1").mkdir()
    root = tmp_path / "1/root"
    root.mkdir()
    (root / "tmp").symlink_to("/etc")
    jvm = Jvm(1, 1, 0, 0, True, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kebpf.capture.javaattach.PROC", tmp_path)
        with pytest.raises(AttachError, match="no /tmp"):
            attach_agent(jvm)


def test_a_jar_is_seen_by_those_who_may_read_it(classes: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    hidden = secret / JAR.name
    hidden.write_bytes(b"")
    with idle(classes, user=NOBODY) as (program, _):
        jvm = jvm_of(program.pid)
        assert not sees_file(jvm, hidden)
        assert sees_file(jvm, Path("/etc/passwd"))
        assert not sees_file(jvm, tmp_path / "missing")
