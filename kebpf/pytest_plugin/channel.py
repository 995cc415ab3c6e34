"""The connection of a pytest process to the ``kebpf mock`` around it; standard library only."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

SOCKET_VARIABLE = "KEBPF_MOCK_SOCKET"  # as in kebpf.replay.mockcontrol
ANSWER_S = 60.0

Message = dict[str, Any]


class ChannelError(Exception):
    """kebpf refuses, or is gone; the text is one sentence."""


class Channel:
    """Asks, and waits for the answer.  For the process that opened it only."""

    def __init__(self, path: str) -> None:
        self.named_sets: list[str] = []  # that answer where a test is not marked
        self.refusal: str | None = None  # why workers cannot have mocks of their own
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ChannelError(f"kebpf mock is not there any more: {error.strerror}") from error
        self._lines = self._socket.makefile("rb")
        self._pid = os.getpid()

    def hello(self) -> None:
        """Asks for mocks of this process alone."""
        answer = self._ask({"op": "hello"})
        self.named_sets = [str(name) for name in answer["sets"]]
        self.refusal = answer["alone"]

    def begin(self, sets: Sequence[str], cases: Sequence[str], is_lenient: bool) -> Message:
        """From now on only these mocks answer; gives what came of those before."""
        asked = {"op": "begin", "sets": [*sets], "cases": [*cases], "lenient": is_lenient}
        answer = self._ask(asked)
        before: Message = answer["before"]
        return before

    def look(self) -> Message:
        """What came of the calls by now; its misses are those since the last look."""
        return self._ask({"op": "look"})

    def end(self) -> Message:
        """The same, and the mocks of the scope before answer again."""
        return self._ask({"op": "end"})

    @property
    def is_ours(self) -> bool:
        """False in a process that a test forked."""
        return os.getpid() == self._pid

    def _ask(self, message: Message) -> Message:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise ChannelError(f"kebpf mock does not answer: {error}") from error
        if not line:
            raise ChannelError("kebpf mock has ended")
        answer: Message = json.loads(line)
        if "error" in answer:
            raise ChannelError(str(answer["error"]))
        return answer

    def close(self) -> None:
        """Leaves."""
        self._lines.close()
        self._socket.close()


def open_channel() -> Channel | None:
    """The channel to the ``kebpf mock`` that this process runs under, if it does.

    Raises `ChannelError`.
    """
    path = os.environ.get(SOCKET_VARIABLE)
    if not path:
        return None
    channel = Channel(path)
    try:
        channel.hello()
    except ChannelError:
        channel.close()
        raise
    return channel
