from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kebpf.replay import launch as launch_module
from kebpf.replay.invoker import Invoker, find_invoker
from kebpf.replay.launch import Application, LaunchError, describe_status, launch_application
from kebpf.replay.output import TAIL_LINES
from kebpf.replay.spawn import Launch

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    path: Path


def find_cgroup_mount() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(mount, os.W_OK):
            return Path(mount)
    return None


@pytest.fixture
def cgroup() -> Iterator[Group]:
    mount = find_cgroup_mount()
    if mount is None or os.geteuid() != 0:
        pytest.skip("no cgroup v2 that this user may write to")
    group = Group(mount / f"kebpf-test-launch-{os.getpid()}")
    group.path.mkdir()
    yield group
    group.path.rmdir()  # fails if anybody is left in it


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def make_launch(command: str | list[str], **changes: Any) -> Launch:
    return replace(Launch(command, find_invoker()), **changes)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def run_to_end(launch: Launch) -> Application:
    application = await launch_application(launch)
    await application.wait()
    await application.stop()
    return application


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


class TestStart:
    def test_a_shell_string_and_an_argument_list_are_run(self) -> None:
        shell = run(run_to_end(make_launch("echo out; echo err >&2; exit 3")))
        assert (shell.status, shell.last_lines) == (3, ["out", "err"])
        plain = run(run_to_end(make_launch(["/bin/echo", "$HOME; x"])))
        assert (plain.status, plain.last_lines) == (0, ["$HOME; x"])

    def test_it_leads_its_own_session_in_the_same_folder_with_default_signals(self) -> None:
        application = run(run_to_end(make_launch(["/bin/sh", "-c", "exec cat /proc/self/status"])))
        status = dict(line.split(":\t", 1) for line in application.last_lines if ":\t" in line)
        theirs = 0b11 << 31  # 32 and 33 are the C library's own: nobody else can set them
        assert int(status["SigIgn"], 16) & ~theirs == 0
        code = "import os; print(os.getsid(0) == os.getpid(), os.getcwd())"
        application = run(run_to_end(make_launch(python(code))))
        assert application.last_lines == [f"True {Path.cwd()}"]

    def test_no_descriptor_but_the_standard_ones_is_handed_on(self) -> None:
        application = run(run_to_end(make_launch(["/bin/sh", "-c", "ls /proc/$$/fd"])))
        assert [line for line in application.last_lines if int(line) > 2] == []

    def test_the_environment_is_the_invokers_and_nothing_else(self) -> None:
        invoker = replace(
            find_invoker(), environment={"PATH": "/usr/bin:/bin", "ODD": "a\nb=\udcff"}
        )
        application = run(run_to_end(make_launch(["env", "-0"], invoker=invoker)))
        assert "\n".join(application.last_lines).startswith("PATH=/usr/bin:/bin\0ODD=a\nb=")

    @needs_root
    def test_identity_is_dropped_for_good(self) -> None:
        invoker = Invoker("nobody", 65534, 65534, (65534,), {"PATH": "/usr/bin:/bin"}, True)
        application = run(run_to_end(make_launch(["cat", "/proc/self/status"], invoker=invoker)))
        status = dict(line.split(":\t", 1) for line in application.last_lines)
        assert status["Uid"].split() == ["65534"] * 4
        assert status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == ["65534"]
        assert int(status["CapEff"], 16) == 0

    @needs_root
    def test_it_is_in_the_cgroup_before_it_runs_though_not_root(self, cgroup: Group) -> None:
        invoker = Invoker("nobody", 65534, 65534, (65534,), {"PATH": "/usr/bin:/bin"}, True)
        launch = make_launch(["cat", "/proc/self/cgroup"], invoker=invoker, group=cgroup)
        application = run(run_to_end(launch))
        assert f"0::/{cgroup.path.name}" in application.last_lines

    def test_it_stands_still_before_its_exec_while_probes_are_attached(self) -> None:
        seen: list[tuple[int, str]] = []

        async def attach(pid: int) -> None:
            seen.append((pid, Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1]))

        application = run(run_to_end(make_launch("echo $$", before_exec=attach)))
        assert [pid for pid, _ in seen] == [application.pid]
        assert seen[0][1] != "-c"
        assert application.last_lines == [str(application.pid)]

    def test_it_never_runs_if_attaching_failed(self, tmp_path: Path) -> None:
        async def attach(pid: int) -> None:
            raise ValueError(str(pid))

        made = tmp_path / "made"
        with pytest.raises(ValueError, match=r"\d+") as caught:
            run(launch_application(make_launch(f"touch {made}", before_exec=attach)))
        assert not is_alive(int(str(caught.value)))
        assert not made.exists()


class TestFailure:
    def test_a_missing_command_is_a_sentence(self) -> None:
        with pytest.raises(LaunchError, match=r"^the command no-such-thing was not found$"):
            run(launch_application(make_launch(["no-such-thing"])))

    def test_a_file_that_cannot_be_executed_is_a_sentence(self, tmp_path: Path) -> None:
        file = tmp_path / "plain"
        file.write_text("x")
        with pytest.raises(LaunchError, match="plain is not executable for"):
            run(launch_application(make_launch([str(file)])))
        file.chmod(0o755)
        with pytest.raises(LaunchError, match="is not a program"):
            run(launch_application(make_launch([str(file)])))

    def test_a_cgroup_that_is_gone_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(LaunchError, match="could not be put into its cgroup: No such file"):
            run(launch_application(make_launch("true", group=Group(tmp_path / "none"))))

    def test_a_log_that_cannot_be_written_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(LaunchError, match="cannot be written: No such file"):
            run(launch_application(make_launch("true", log_file=tmp_path / "a" / "b")))

    def test_exit_is_described(self) -> None:
        assert run(run_to_end(make_launch("nosuch1"))).describe_exit() == (
            "exited with status 127: a command in it was not found"
        )
        assert (
            run(run_to_end(make_launch("kill -SEGV $$"))).describe_exit() == "was ended by SIGSEGV"
        )
        assert describe_status(137, of_shell=True) == "exited with status 137 (SIGKILL)"
        assert describe_status(137) == "exited with status 137"
        assert describe_status(-63) == "was ended by signal 63"
        assert describe_status(250, of_shell=True) == "exited with status 250"


class TestOutput:
    def test_the_tail_is_bounded_and_the_rest_is_in_the_log(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        heard: list[str] = []
        launch = make_launch("seq 1 1000; printf end", log_file=log, on_line=heard.append)
        application = run(run_to_end(launch))
        numbers = [str(number) for number in range(1, 1001)]
        assert application.last_lines == [*numbers, "end"][-TAIL_LINES:]
        assert heard == [*numbers, "end"]
        assert log.read_text() == "\n".join(numbers) + "\nend"
        assert log.stat().st_mode & 0o777 == 0o600

    def test_a_line_without_end_does_not_grow(self) -> None:
        application = run(run_to_end(make_launch("head -c 3000000 /dev/zero | tr '\\0' x")))
        assert len(application.last_lines) == TAIL_LINES
        assert max(map(len, application.last_lines)) <= 8192

    def test_uncaptured_output_goes_where_ours_goes(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        application = run(run_to_end(make_launch("echo out; echo err >&2", captures_output=False)))
        assert application.last_lines == []
        assert capfd.readouterr() == ("out\n", "err\n")


class TestStop:
    def test_a_graceful_end_is_waited_for(self) -> None:
        code = (
            "import signal, sys\n"
            "def end(*_):\n    print('bye', flush=True); sys.exit(7)\n"
            "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\nsignal.pause()"
        )

        async def scenario() -> Application:
            up = asyncio.Event()
            launch = make_launch(python(code), on_line=lambda _: up.set())
            application = await launch_application(launch)
            await up.wait()
            await application.stop()
            return application

        application = run(scenario())
        assert (application.status, application.last_lines) == (7, ["up", "bye"])

    def test_a_stubborn_family_is_ended_whole(self, cgroup: Group) -> None:
        pids = run(stop_stubborn_family(cgroup))
        assert len(pids) == 3
        assert [pid for pid in pids if is_alive(pid)] == []

    def test_one_that_never_came_to_its_cgroup_is_ended_too(
        self, cgroup: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An interrupt comes while the child has not even begun: it is held there."""
        held: list[int] = []

        async def interrupt(_launch: Launch, pid: int, _pipes: object) -> None:
            os.kill(pid, signal.SIGSTOP)
            held.append(pid)
            raise asyncio.CancelledError

        async def start() -> None:
            async with asyncio.timeout(20):
                await launch_application(Launch(["sleep", "60"], find_invoker(), cgroup))

        monkeypatch.setattr(launch_module, "_release", interrupt)
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(start())
        assert not Path("/proc", str(held[0])).exists()

    def test_without_a_cgroup_the_session_is_ended_whole(self) -> None:
        pids = run(stop_stubborn_family(None))
        assert [pid for pid in pids[:2] if is_alive(pid)] == []
        os.kill(pids[2], signal.SIGKILL)  # left its session: only a cgroup could have held it

    def test_the_kernel_ends_it_when_the_starter_is_killed(self) -> None:
        assert run(kill_a_starter()) is True


STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
out, into = os.pipe()
for leaves in (False, True):
    if os.fork() == 0:
        if leaves:
            os.setsid()
        os.write(into, b"%d " % os.getpid())
        signal.pause()
a = os.read(out, 100)
while a.count(b" ") < 2:
    a += os.read(out, 100)
print(os.getpid(), a.decode(), flush=True)
signal.pause()
"""


async def stop_stubborn_family(cgroup: Group | None) -> list[int]:
    """Gives the main process, its child and the child that left the session."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    launch = make_launch(python(STUBBORN), group=cgroup, on_line=told.set_result)
    application = await launch_application(launch)
    pids = [int(word) for word in (await told).split()]
    pids.sort(key=os.getsid)
    pids.sort(key=lambda pid: (os.getsid(pid) != application.pid, pid != application.pid))
    await application.stop(grace_s=0.05)
    assert application.status == -signal.SIGKILL
    return pids


STARTER = """
import asyncio, sys
from kebpf.replay.invoker import find_invoker
from kebpf.replay.launch import launch_application
from kebpf.replay.spawn import Launch
async def main():
    started = await launch_application(Launch(["sleep", "600"], find_invoker(), dies_with_us=True))
    print(started.pid, flush=True)
    await started.wait()
asyncio.run(main())
"""


async def kill_a_starter() -> bool:
    """Whether the application ends when the process that started it is killed."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    starter = await asyncio.create_subprocess_exec(
        *python(STARTER), stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert starter.stdout is not None
    pid = int(await starter.stdout.readline())
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    starter.kill()
    await starter.wait()
    await asyncio.wait_for(ended.wait(), 10)
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)
    return not is_alive(pid)
