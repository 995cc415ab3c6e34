"""The plug-in's end of the control socket: literal lines, and what ends in a sentence."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.pytest_plugin.channel import Channel, ChannelError, open_channel


class Server:
    """Gives literal answers, one a line that comes, and then goes."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.lines: list[bytes] = []
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket, self._socket.accept()[0] as there, there.makefile("rb") as lines:
            for answer in self._answers:
                self.lines.append(lines.readline())
                there.sendall(answer)

    def close(self) -> None:
        self._thread.join()


@contextmanager
def serving(path: Path, *answers: bytes) -> Iterator[tuple[Server, Channel]]:
    server = Server(path, *answers)
    channel = Channel(str(path))
    try:
        yield server, channel
    finally:
        channel.close()
        server.close()


def test_what_is_asked(tmp_path: Path) -> None:
    answers = [
        b'{"sets": ["a"], "alone": null}\n',
        b'{"before": {"n": 1}}\n',
        b'{"n": 2}\n',
        b'{"n": 3}\n',
    ]
    with serving(tmp_path / "s", *answers) as (server, channel):
        channel.hello()
        assert channel.named_sets == ["a"]
        assert channel.begin(["a"], ["b*"], True) == {"n": 1}
        assert (channel.look(), channel.end()) == ({"n": 2}, {"n": 3})
    assert [json.loads(line) for line in server.lines] == [
        {"op": "hello"},
        {"op": "begin", "sets": ["a"], "cases": ["b*"], "lenient": True},
        {"op": "look"},
        {"op": "end"},
    ]


def test_what_goes_wrong(tmp_path: Path) -> None:
    with serving(tmp_path / "s", b'{"error": "there is no test set x"}\n') as (_, channel):
        with pytest.raises(ChannelError, match="there is no test set x"):
            channel.begin(["x"], [], False)
        with pytest.raises(ChannelError, match=r"kebpf mock has ended|does not answer"):
            channel.look()
    with pytest.raises(ChannelError, match="not there any more"):
        Channel(str(tmp_path / "none"))


def test_without_kebpf_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KEBPF_MOCK_SOCKET", raising=False)
    assert open_channel() is None
    monkeypatch.setenv("KEBPF_MOCK_SOCKET", str(tmp_path / "s"))
    server = Server(tmp_path / "s", b'{"error": "no"}\n')
    with pytest.raises(ChannelError, match=r"^no$"):
        open_channel()
    server.close()


def test_a_forked_process_does_not_own_it(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as (_, channel):
        assert channel.is_ours
        pid = os.fork()
        if pid == 0:
            os._exit(int(channel.is_ours))
        assert os.waitpid(pid, 0)[1] == 0
