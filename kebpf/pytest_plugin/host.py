"""The process that runs the recorded cases of one test set, as a pytest process sees it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

from kebpf.cli.casehost import START, Done, Note, Order, Refused
from kebpf.replay.events import ApplicationReady, CaseFinished, RunFailed
from kebpf.replay.tally import Part

_OPTION = re.compile(r"--(isolated|rootless)\b")
END_S = 60.0  # what the application may take to end, twice over


class HostError(Exception):
    """The application is not there to be tested; the text says why, whole."""


class CaseHost:
    """Started on construction; the application is there once `wait_ready` returns."""

    def __init__(self, order: Order) -> None:
        self.failures: list[RunFailed] = []
        self.notes: list[str] = []
        self.part: Part | None = None
        self._refusal: str | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._connection.send(order)

    def wait_ready(self) -> None:
        """Returns when the application listens.  Raises `HostError`."""
        while True:
            if isinstance(self._receive(), ApplicationReady):
                return

    def run(self, case: str) -> CaseFinished:
        """Runs one case.  Raises `HostError` if that cannot be any more."""
        try:
            self._connection.send(case)
        except OSError:
            raise HostError(self._explain()) from None
        while True:
            message = self._receive()
            if isinstance(message, CaseFinished):
                return message

    def finish(self) -> None:
        """Ends the application; all that is known of the run is known then."""
        try:
            self._connection.send(None)
            while self.part is None:
                self._receive()
        except (HostError, OSError):
            return  # it has ended already, and why was told
        finally:
            self.close()

    def _receive(self) -> object:
        """The next message; those that are of no case are kept.  Raises `HostError`."""
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            raise HostError(self._explain()) from None
        match message:
            case RunFailed():
                self.failures.append(message)
            case Note(text):
                self.notes.append(text)
            case Refused(text):
                self._refusal = text
            case Done(part):
                self.part = part
        return message

    def _explain(self) -> str:
        if self._refusal is not None:
            return _name_options(self._refusal)
        if not self.failures:
            return "the process that runs the cases ended unexpectedly"
        failure = self.failures[0]
        tail = ["the application's last lines:", *(f"  {one}" for one in failure.output)]
        return "\n".join([_name_options(failure.reason), *(tail if failure.output else [])])

    def close(self) -> None:
        """Ends everything, whatever state it is in."""
        self._connection.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _name_options(text: str) -> str:
    """What is said of an option of ``kebpf test`` holds for the plug-in's, named otherwise."""
    return _OPTION.sub(r"--kebpf-\1", text)
