"""The recorder's side of the assembler: starts that process, talks to it, cleans up after it."""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from kebpf.capture.backends import Backends
from kebpf.capture.spool import DEFAULT_QUOTA, Spool
from kebpf.kernel.sandbox import Sandbox
from kebpf.recording.channel import (
    AskDatabase,
    Channel,
    ChannelClosedError,
    Database,
    Failed,
    Message,
    Prepare,
    Prepared,
)
from kebpf.recording.errors import TestSetError, explain_writing

MessageT = TypeVar("MessageT", bound=Message)

_END_SECONDS = 10.0  # an assembler that was told to end and has not is killed
_FOR_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOWEST = 19  # nice: it runs when the target and all others leave time


class AssemblerError(Exception):
    """The assembler ended and was not to; the text is one sentence.

    ``traceback`` is where, if it could still tell.
    """

    def __init__(self, text: str, traceback: str = "") -> None:
        super().__init__(text)
        self.traceback = traceback


class EventLogFullError(Exception):
    """The event log cannot be written; ``reason`` is the ``OSError``."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Assembly:
    """The assembler's process and the spool it reads.

    To be made while this process has one thread only: the other one is its copy, which shares
    the memory of all that is loaded by then.  With a ``sandbox`` it is confined before it reads
    a byte of what was captured; the set belongs to the sandbox's user then.  Raises
    `KernelError` where there is no such user.
    """

    def __init__(self, quota: int = DEFAULT_QUOTA, sandbox: Sandbox | None = None) -> None:
        self._ids = None if sandbox is None else sandbox.find_ids()
        self.spool = Spool(quota)
        self._backends = Backends()
        self._own: Prepare | None = None  # what was asked for
        self._unfinished: list[str] = []
        self._is_asked = False
        ours, theirs = socket.socketpair()
        gc.freeze()  # what both have stays shared as far as it can
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _become_assembler(theirs, self.spool, self._ids)
        theirs.close()
        self._channel = Channel(ours)
        self._ended = os.pidfd_open(self.pid)
        self._is_open = True

    def prepare(self, message: Prepare) -> None:
        """Asks for the files; `await_files` says whether they could be made."""
        self._is_asked, self._own = True, message
        if self._ids is not None:
            message.owner = None  # it may give files to nobody, and makes its own
            _make_parents(Path(message.folder).absolute(), *self._ids)
        self.send(message)

    def await_files(self) -> None:
        """Returns when the files are there.  Raises as `receive`."""
        named = self.expect(Prepared).unfinished
        self._unfinished = [name for name in named if self._is_ours(name)]

    def _is_ours(self, name: str) -> bool:
        """Whether a file can be one that it was asked to make: nothing else is removed for it."""
        if self._own is None:
            return False
        folder, path = Path(self._own.folder).absolute(), Path(name)
        is_temporary = path.parent == folder.parent and path.name.startswith(f".{folder.name}.")
        return is_temporary or path in folder.parents or name == self._own.events

    def send(self, message: Message) -> None:
        """Raises as `receive`."""
        try:
            self._channel.send(message)
        except ChannelClosedError:
            self._explain_end()

    def receive(self, seconds: float | None) -> Message | None:
        """What the assembler says next, ``None`` if nothing for so long.

        Raises ``TestSetError``, `EventLogFullError` and `AssemblerError`.
        """
        while True:
            try:
                message = self._channel.receive(seconds)
            except ChannelClosedError:
                self._explain_end()
            if isinstance(message, Failed):
                _raise_failure(message)
            if not isinstance(message, AskDatabase):
                return message
            self._answer(message)

    def _answer(self, asked: AskDatabase) -> None:
        """What only this process may look at."""
        (client, client_port), (server, server_port) = asked.client, asked.server
        ends = (str(client), int(client_port)), (str(server), int(server_port))
        self.send(Database(self._backends.find_database(*ends)))

    def expect(self, kind: type[MessageT]) -> MessageT:
        """Waits for a message of one kind; others that were asked for before are dropped."""
        while True:
            message = self.receive(None)
            if isinstance(message, kind):
                return message

    def step_back(self) -> None:
        """From here on the target comes first."""
        self._set_niceness(_LOWEST)

    def hurry(self) -> None:
        """The target is recorded no more: what is left is done as fast as the host can."""
        self._set_niceness(0)

    def _set_niceness(self, niceness: int) -> None:
        """Of the assembler, and of the scheduler's group that its session is; sched(7).

        Where sessions are groups of their own, what is nice within one says nothing to others.
        """
        with suppress(OSError):
            policy = os.SCHED_IDLE if niceness else os.SCHED_OTHER
            os.sched_setscheduler(self.pid, policy, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, self.pid, niceness)
            Path(f"/proc/{self.pid}/autogroup").write_text(str(niceness))

    def settle(self) -> None:
        """What it made is in its place."""
        self._unfinished = []

    def close(self) -> None:
        """Ends the assembler, which removes what is unfinished; if it was killed, this does."""
        if not self._is_open:
            return
        self._is_open = False
        self._channel.close()
        with suppress(OSError):  # it may have been stopped, or have nothing to clean up
            os.kill(self.pid, signal.SIGCONT if self._is_asked else signal.SIGKILL)
        self._reap()
        os.close(self._ended)
        for name in self._unfinished:
            _remove(Path(name))
        self.spool.close()

    def _reap(self) -> int:
        """How it ended, as ``subprocess`` says it; it is killed if it does not."""
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        if not poll.poll(_END_SECONDS * 1000):
            os.kill(self.pid, signal.SIGKILL)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # reaped before
            return 0

    def _explain_end(self) -> NoReturn:
        """It has closed the channel; it may have said why before."""
        with suppress(ChannelClosedError):
            while (message := self._channel.receive(0)) is not None:
                if isinstance(message, Failed):
                    _raise_failure(message)
        status = self._reap()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise AssemblerError(f"the process that writes the test set was ended by {how}")


def _make_parents(folder: Path, uid: int, gid: int) -> None:
    """The folders above the set's own that are not there, for a user who could not make them.

    Raises ``TestSetError``.
    """
    try:
        for parent in reversed(folder.parents):
            if not parent.exists():
                parent.mkdir(mode=0o700)
                os.chown(parent, uid, gid)
    except OSError as error:
        raise explain_writing(error, f"the test set {folder} cannot be written") from error


def _become_assembler(
    channel: socket.socket, spool: Spool, ids: tuple[int, int] | None
) -> NoReturn:
    """In the child: what only it needs is loaded only here; signals are for the parent."""
    try:
        for number in _FOR_PARENT:
            signal.signal(number, signal.SIG_IGN)
        os.setsid()  # a group of its own to the scheduler: see `_set_niceness`
        from kebpf.recording.assembler import enter_process

        enter_process(Channel(channel), spool, ids)
    finally:
        os._exit(1)


def _raise_failure(failed: Failed) -> NoReturn:
    if failed.kind == "test set":
        raise TestSetError(failed.text)
    if failed.kind == "event log":
        raise EventLogFullError(OSError(failed.number, failed.text))
    text = (
        f"unexpected {failed.kind}: {failed.text}" if failed.text else f"unexpected {failed.kind}"
    )
    raise AssemblerError(text, failed.traceback)


def _remove(path: Path) -> None:
    if path.name.startswith(".") and path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    remove: Callable[[], None] = path.rmdir if path.is_dir() else path.unlink
    with suppress(OSError):  # it is gone already, or something else is in it
        remove()
