"""Child processes that are ready when they say so and never outlive the one who started them."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
KEPT_LINES = 20_000


class ProcessError(Exception):
    """A process did not become ready, or did not stop in time; the text has its last lines."""


class Process:
    """A child whose output is read as it comes; others can `wait_for` a line.

    The kernel ends it (``SIGTERM``) when the thread that started it dies, however that happens.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._on_line = on_line
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._news = threading.Condition()
        self._line_count = 0
        self._is_ended = False
        self._popen = subprocess.Popen(
            [*_guard(user), *map(str, arguments)],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        return self._popen.poll()

    def _read_lines(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._line_count += 1
                self._news.notify_all()
            if self._on_line is not None:
                self._on_line(line.rstrip("\n"))
        with self._news:
            self._is_ended = True
            self._news.notify_all()

    def wait_for(self, is_wanted: Callable[[str], bool], seconds: float = READY_SECONDS) -> str:
        """The newest line that is wanted.  Raises `ProcessError` at the end of output or time."""
        seen = 0
        found: str | None = None

        def is_over() -> bool:
            nonlocal seen, found
            unseen = itertools.islice(reversed(self.lines), self._line_count - seen)
            seen, found = self._line_count, next(filter(is_wanted, unseen), None)
            return found is not None or self._is_ended

        with self._news:
            self._news.wait_for(is_over, seconds)
        if found is None:
            raise ProcessError(f"{self.name} did not become ready:\n{self.tail()}")
        return found

    def tail(self, count: int = 20) -> str:
        """The last lines of output."""
        return "\n".join(list(self.lines)[-count:])

    def wait(self, seconds: float) -> int:
        """The exit status, once all output is read.  Raises `ProcessError` after ``seconds``."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs:\n{self.tail()}") from None
        self._reader.join(STOP_SECONDS)
        return status

    def stop(self, number: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Ends it, by force when it will not in ``seconds``; gives the exit status."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        try:
            return self.wait(seconds)
        except ProcessError:
            self._popen.kill()
            return self.wait(STOP_SECONDS)
        finally:
            if not self._reader.is_alive() and self._popen.stdout is not None:
                self._popen.stdout.close()


def run_to_end(name: str, arguments: Sequence[str | Path], *, user: str | None) -> None:
    """Runs a program that ends by itself.  Raises `ProcessError` unless its status is 0."""
    process = Process(name, arguments, user=user)
    try:
        status = process.wait(READY_SECONDS)
    finally:
        process.stop()
    if status != 0:
        raise ProcessError(f"{name} failed with status {status}:\n{process.tail()}")


def _guard(user: str | None) -> list[str]:
    """The command line that drops to ``user`` and ties a child's life to its parent's."""
    command = ["setpriv", "--pdeathsig", "TERM"]
    if user is not None:
        entry = pwd.getpwnam(user)
        command += ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
    return [*command, "--"]


def find_unprivileged_user() -> str | None:
    """Whom to run a server as: someone with no rights when root, else ``None`` (oneself)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def find_free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_program(name: str, *patterns: str) -> Path:
    """A program: the newest that fits a pattern, else from PATH.  Raises `ProcessError`."""
    for pattern in patterns:
        found = sorted(Path("/").glob(pattern), key=lambda path: [int(n) for n in _digits(path)])
        if found:
            return found[-1]
    on_path = shutil.which(name)
    if on_path is None:
        raise ProcessError(f"{name} is not installed (make setup installs it)")
    return Path(on_path)


def _digits(path: Path) -> list[str]:
    return [part for part in path.parts if part.isdigit()]


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Lets SIGINT, SIGTERM and SIGHUP unwind the stack, so that all is cleaned up.

    SIGINT is set too: shells start background jobs with it ignored.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
