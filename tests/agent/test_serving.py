"""Answers at sockets: whole ones, to any number of clients, however these behave."""

from __future__ import annotations

import contextlib
import selectors
import socket
import stat
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread

import pytest

from kebpf.agent.asking import NoAgentError, ask_status
from kebpf.agent.serving import METRICS_TYPE, Server, bind_address, bind_unix

BIG = '{"text": "' + "x" * 1_000_000 + '"}\n'


@contextlib.contextmanager
def answering(
    listener: socket.socket, answer: Callable[[], str], is_http: bool = False
) -> Iterator[None]:
    """A server whose callbacks are called in a thread of its own."""
    is_over = Event()

    def run() -> None:
        with selectors.DefaultSelector() as selector:
            server = Server(listener, selector, answer, is_http)
            while not is_over.is_set():
                for key, mask in selector.select(0.01):
                    key.data(mask)
            server.close()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_status_is_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    with answering(bind_unix(path), lambda: BIG), contextlib.ExitStack() as stack:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for _ in range(40):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(str(path))
        assert len(ask_status(path)["text"]) == 1_000_000
    assert not path.exists()
    with pytest.raises(NoAgentError, match="no agent answers at"):
        ask_status(path)


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    bind_unix(path).close()
    with bind_unix(path), pytest.raises(OSError, match="in use"):
        bind_unix(path)


def test_metrics_over_http() -> None:
    listener = bind_address(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with answering(listener, lambda: "a 1\n", is_http=True):
        for method, path, status, body in (
            ("GET", "/metrics", 200, b"a 1\n"),
            ("GET", "/metrics?x=1", 200, b"a 1\n"),
            ("HEAD", "/metrics", 200, b""),
            ("GET", "/other", 404, b""),
            ("POST", "/metrics", 405, b""),
        ):
            with contextlib.closing(HTTPConnection("127.0.0.1", port)) as client:
                client.request(method, path)
                answer = client.getresponse()
                assert (answer.status, answer.read()) == (status, body)
                assert answer.headers["Content-Type"] == METRICS_TYPE


@pytest.mark.parametrize("data", [b"", b"x" * 20_000])
def test_a_client_that_says_too_much_or_nothing_is_dropped(data: bytes) -> None:
    listener = bind_address(("127.0.0.1", 0))
    with (
        answering(listener, lambda: "a 1\n", is_http=True),
        socket.create_connection(listener.getsockname()) as client,
        contextlib.suppress(OSError),  # reset: not all it said was read
    ):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_status_is_said_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.sock"
    with (
        answering(bind_unix(path), lambda: text),
        pytest.raises(NoAgentError, match="cannot be read"),
    ):
        ask_status(path)
