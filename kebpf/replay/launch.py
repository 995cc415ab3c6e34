"""Starts the application in its cgroup as its user, watches it, and ends all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from kebpf.kernel.errors import KernelError
from kebpf.replay.output import OutputTail, open_log
from kebpf.replay.processes import Family
from kebpf.replay.spawn import Launch, Pipes, explain_failure, read_status, start_child

DEFAULT_GRACE_S = 10.0
LAST_OUTPUT_WAIT_S = 1.0  # a process outside the family may hold the pipe open for ever

_SHELL_FAILURES = {127: "a command in it was not found", 126: "a command in it cannot be executed"}


class LaunchError(Exception):
    """The application could not be started or did not stay; the text is one sentence.

    ``output`` holds its last lines.
    """

    def __init__(self, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.output = list(output)


class Application:
    """A started application."""

    def __init__(self, process: subprocess.Popen[bytes], launch: Launch, tail: OutputTail) -> None:
        self.pid = process.pid
        self.on_exit: Callable[[], object] | None = None  # called once the main process has exited
        self._process = process
        self._launch = launch
        self._tail = tail
        self._family = Family(process.pid, launch.group)
        self._exited = asyncio.Event()
        self._output_ended = asyncio.Event()
        self._output: asyncio.BaseTransport | None = None

    @property
    def status(self) -> int | None:
        """Its exit status (negative: the signal that ended it), ``None`` while it runs."""
        return self._process.returncode

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output."""
        return self._tail.lines

    async def wait(self) -> int:
        """Waits until the main process has exited; its status."""
        await self._exited.wait()
        return self._process.wait()

    def describe_exit(self) -> str:
        """How it ended, as the end of a sentence."""
        return describe_status(self.status or 0, isinstance(self._launch.command, str))

    def is_busy(self) -> bool:
        """Whether any of its threads runs or waits for more than an event or a time."""
        return self._family.is_busy()

    async def wait_last_output(self) -> None:
        """Waits until what was written before the exit has been read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_OUTPUT_WAIT_S):
                await self._output_ended.wait()

    async def stop(self, grace_s: float = DEFAULT_GRACE_S) -> list[int]:
        """Asks all of it to end, and after ``grace_s`` seconds ends it.

        Gives the processes that could not be ended (none, as a rule).
        """
        self._family.terminate()
        await self._family.wait_gone(grace_s)
        if self.status is None:
            self._process.kill()  # one that has not come to its cgroup yet is no member there
        survivors = await self._family.kill()
        if not survivors:
            await self.wait()
        await self.wait_last_output()
        if self._output is not None:
            self._output.close()
        self._tail.close()
        return survivors

    async def _watch(self, output: int | None) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, self._reap, descriptor)
        if output is None:
            self._output_ended.set()
            return
        file = os.fdopen(output, "rb", buffering=0)
        reader = _OutputReader(self._tail, self._output_ended)
        self._output, _ = await loop.connect_read_pipe(lambda: reader, file)

    def _reap(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._process.wait()
        self._exited.set()
        if self.on_exit is not None:
            self.on_exit()


class _OutputReader(asyncio.Protocol):
    def __init__(self, tail: OutputTail, ended: asyncio.Event) -> None:
        self._tail = tail
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._tail.receive_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


async def launch_application(launch: Launch) -> Application:
    """Starts an application; on return it has been executed.

    Raises `LaunchError` if it was not: command not found, cgroup or user not to be had.
    """
    tail = _open_tail(launch)
    pipes = Pipes.open(launch)
    try:
        process = start_child(launch, pipes)
    except (OSError, KernelError) as error:
        pipes.close_ours()
        tail.close()
        if isinstance(error, KernelError):
            raise
        raise LaunchError(f"no process could be started: {error.strerror}") from error
    finally:
        pipes.close_theirs()
    application = Application(process, launch, tail)
    status = os.fdopen(pipes.status_read, "rb")
    try:
        await application._watch(pipes.output_read)
        await _release(launch, process.pid, pipes)
        failure = await asyncio.to_thread(read_status, status)
    except BaseException:
        await application.stop(0)
        raise
    finally:
        status.close()
    if failure is not None:
        await application.stop()
        raise LaunchError(explain_failure(launch, *failure), tail.lines)
    return application


async def _release(launch: Launch, pid: int, pipes: Pipes) -> None:
    """Lets a held process go on; it ends if the descriptor closes without a word."""
    ready, go = pipes.ready_read, pipes.go_write
    if ready is None or go is None or launch.before_exec is None:
        return
    try:
        if await asyncio.to_thread(os.read, ready, 1):
            await launch.before_exec(pid)
            os.write(go, b"g")
    finally:
        os.close(ready)
        os.close(go)


def describe_status(status: int, of_shell: bool = False) -> str:
    """An exit status as the end of a sentence."""
    if status < 0:
        return f"was ended by {_signal_name(-status)}"
    if of_shell and status in _SHELL_FAILURES:
        return f"exited with status {status}: {_SHELL_FAILURES[status]}"
    if of_shell and status - 128 in set(signal.Signals):
        return f"exited with status {status} ({_signal_name(status - 128)})"
    return f"exited with status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _open_tail(launch: Launch) -> OutputTail:
    if launch.log_file is None:
        return OutputTail(launch.on_line)
    try:
        log = open_log(launch.log_file, launch.invoker.uid, launch.invoker.gid)
    except OSError as error:
        raise LaunchError(
            f"the application's log {launch.log_file} cannot be written: {error.strerror}"
        ) from error
    return OutputTail(launch.on_line, log)
