"""Puts the agent into a running Java program, by HotSpot's attach protocol.

The JVM is asked for its socket by a file in its ``/tmp`` and SIGQUIT, unless it has one, and told
through it to load the jar.  What is put into its ``/tmp`` is gone when this is done: the jar and
the file whose lock says that kebpf is still there are only held open from then on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kebpf.capture.jvm import PROC, AttachError, Jvm, check_attachable
from kebpf.kernel.acting import act_as

JAR = Path(__file__).with_name("java") / "kebpf-agent.jar"
PATIENCE = 10.0  # seconds, for a socket and for an answer
_POLL = 0.05
_MOST_ANSWER = 64 << 10


def attach_agent(jvm: Jvm, jar: Path = JAR) -> int:
    """Has the agent loaded; it reports as long as the descriptor that is given stays open.

    Raises `AttachError`, and ``OSError`` when the process ends meanwhile.
    """
    if not jvm.is_hotspot:
        raise AttachError(
            f"{jvm.title} is no HotSpot JVM: start it by `kebpf record --java-agent -- COMMAND`"
        )
    with ExitStack() as stack:
        temporary = _open_temporary(jvm)
        stack.callback(os.close, temporary)
        path = _find_socket(jvm, temporary) or _ask_for_socket(jvm, temporary)
        place = stack.enter_context(_placed_jar(jvm, temporary, jar))
        name = f".kebpf-{secrets.token_hex(8)}"
        lock = _make_file(jvm, temporary, name, b"")
        stack.callback(_remove, temporary, name)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            request = ("1", "load", "instrument", "false", f"{place}=lock=/tmp/{name}")
            answer = act_as(jvm.user, jvm.group, lambda: _converse(path, request))
            _check_answer(jvm, answer)
        except BaseException:
            os.close(lock)
            raise
    return lock


def _open_temporary(jvm: Jvm) -> int:
    """Its ``/tmp``, which must be no link: that would lead about on the host, not there."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    root = os.open(PROC / str(jvm.pid) / "root", flags)
    try:
        return os.open("tmp", flags | os.O_NOFOLLOW, dir_fd=root)
    except OSError as error:
        raise AttachError(
            f"{jvm.title} has no /tmp by which it can be reached ({error.strerror})"
        ) from None
    finally:
        os.close(root)


def _find_socket(jvm: Jvm, temporary: int) -> str | None:
    name = f".java_pid{jvm.number}"
    try:
        facts = os.stat(name, dir_fd=temporary, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(facts.st_mode) or facts.st_uid != jvm.user:
        raise AttachError(f"/tmp/{name} is not the socket of {jvm.title}")
    return f"/proc/self/fd/{temporary}/{name}"


def _ask_for_socket(jvm: Jvm, temporary: int) -> str:
    process = os.pidfd_open(jvm.pid)
    name = f".attach_pid{jvm.number}"
    try:
        check_attachable(jvm, temporary)
        os.close(_make_file(jvm, temporary, name, b""))
        try:
            signal.pidfd_send_signal(process, signal.SIGQUIT)
            return _await_socket(jvm, temporary)
        finally:
            _remove(temporary, name)
    finally:
        os.close(process)


def _await_socket(jvm: Jvm, temporary: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        path = _find_socket(jvm, temporary)
        if path is not None:
            return path
        (PROC / str(jvm.pid)).stat()  # or it has ended
        time.sleep(_POLL)
    raise AttachError(f"{jvm.title} did not answer within {PATIENCE:.0f} s: no agent is in it")


def _make_file(jvm: Jvm, temporary: int, name: str, content: bytes) -> int:
    """A new file of the JVM's user, open."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        number = os.open(name, flags, 0o600, dir_fd=temporary)
    except OSError as error:
        raise AttachError(f"the /tmp of {jvm.title}: {error.strerror}") from None
    try:
        os.write(number, content)
        os.fchown(number, jvm.user, jvm.group)
    except OSError as error:
        os.close(number)
        _remove(temporary, name)
        raise AttachError(f"the /tmp of {jvm.title}: {error.strerror}") from None
    return number


def _remove(temporary: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=temporary)


@contextmanager
def _placed_jar(jvm: Jvm, temporary: int, jar: Path) -> Iterator[str]:
    """The jar's path for the JVM: where it is, if it sees it there, or a copy for the moment."""
    if sees_file(jvm, jar):
        yield str(jar)
        return
    name = f".kebpf-{secrets.token_hex(8)}.jar"
    os.close(_make_file(jvm, temporary, name, jar.read_bytes()))
    try:
        yield f"/tmp/{name}"
    finally:
        _remove(temporary, name)


def sees_file(jvm: Jvm, path: Path) -> bool:
    """Whether the JVM's user finds this very file under its name."""
    root = PROC / str(jvm.pid) / "root"
    try:
        its_own = Path(f"{root}{path}").stat()
        is_same = os.path.samestat(its_own, path.stat()) and root.samefile("/")
        return is_same and act_as(
            jvm.user, jvm.group, lambda: os.access(path, os.R_OK, effective_ids=True)
        )
    except OSError:
        return False


def _converse(path: str, words: tuple[str, ...]) -> bytes:
    """One request of the protocol's version 1, and its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(b"".join(word.encode() + b"\0" for word in words))
        answer = b""
        while len(answer) < _MOST_ANSWER and (some := connection.recv(4096)):
            answer += some
    return answer


def _check_answer(jvm: Jvm, answer: bytes) -> None:
    """Its status, and from the agent's library another (``return code: 0``, in Java 8 ``0``)."""
    lines = answer.decode(errors="replace").splitlines()
    results = [line.removeprefix("return code: ").strip() for line in lines[:2]]
    if not results or any(result != "0" for result in results):
        said = " ".join(lines[1:] or lines)[:200] or "nothing"
        raise AttachError(f"{jvm.title} does not take the agent; it says: {said}")
