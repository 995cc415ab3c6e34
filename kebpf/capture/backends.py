"""Reads off a PostgreSQL server on this machine which database a connection is for.

A connection that was open before the recording does not say it any more; the server's process for
it does, in its title (`ps` shows ``postgres: USER DATABASE HOST(PORT) …``).  That counts only if
this very process holds the connection's other end: a title alone may be another server's.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

PROC = Path("/proc")
READ_AGAIN_S = 1.0  # titles are read anew at most so often
MOST_DESCRIPTORS = 4096  # of one process
_TITLE = re.compile(r"postgres: (?:.*: )?(\S+) (\S+) \S+\((\d+)\)(?: .*)?")
_NOT_FOR_QUERIES = "walsender"

End = tuple[str, int]  # numeric host and port


@dataclass(frozen=True, slots=True)
class _Backend:
    pid: int
    database: str


class Backends:
    """The server processes that were seen, by the port of the client they are for."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._by_port: dict[int, list[_Backend]] = {}
        self._read_at: float | None = None

    def find_database(self, client: End, server: End) -> str | None:
        """The database of the connection, ``None`` if no process here is seen to serve it."""
        found = self._find(client, server)
        is_old = self._read_at is None or time.monotonic() - self._read_at > READ_AGAIN_S
        if found is None and is_old:
            self._read_titles()
            found = self._find(client, server)
        return found

    def _find(self, client: End, server: End) -> str | None:
        for backend in self._by_port.get(client[1], ()):
            if self._holds(backend.pid, server, client):
                return backend.database
        return None

    def _read_titles(self) -> None:
        self._read_at = time.monotonic()
        self._by_port = {}
        for folder in self._proc.glob("[0-9]*"):
            match = _TITLE.fullmatch(_read_title(folder))
            if match and match[1] != _NOT_FOR_QUERIES:
                backend = _Backend(int(folder.name), match[2])
                self._by_port.setdefault(int(match[3]), []).append(backend)

    def _holds(self, pid: int, own: End, peer: End) -> bool:
        """Whether a process has a socket with these ends."""
        folder = self._proc / str(pid)
        inodes = {inode for ends, inode in _read_sockets(folder) if ends == _key(own, peer)}
        try:
            files = islice((folder / "fd").iterdir(), MOST_DESCRIPTORS)
            links = {str(file.readlink()) for file in files}
        except OSError:  # it has ended, or just closed one of them
            return False
        return any(f"socket:[{inode}]" in links for inode in inodes)


def _read_title(folder: Path) -> str:
    try:
        raw = (folder / "cmdline").read_bytes()
    except OSError:  # it has ended
        return ""
    return raw.rstrip(b"\0 ").decode(errors="replace")


Ends = tuple[object, int, object, int]


def _key(own: End, peer: End) -> Ends:
    return _address(own[0]), own[1], _address(peer[0]), peer[1]


def _address(text: str) -> object:
    """Equal for an IPv4 address and the same one within IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return getattr(address, "ipv4_mapped", None) or address


def _read_sockets(folder: Path) -> Iterator[tuple[Ends, str]]:
    """The TCP sockets of a process's network, with their inodes; proc(5), /proc/net/tcp."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (folder / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            own, peer = _decode_end(words[1]), _decode_end(words[2])
            yield _key(own, peer), words[9]


def _decode_end(text: str) -> End:
    """``0100007F:1538``: 32-bit words in the host's byte order, then the port."""
    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)
