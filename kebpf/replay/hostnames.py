"""What numeric addresses were called when recorded: for clients that do not say whom they mean."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from kebpf.recording.model import Mock

MOST_NAMES = 64  # of one address
_ADDRESSES = ("A", "AAAA")
_HOSTS = Path("/etc/hosts")


class HostNames:
    """The names of addresses, by what was looked up, asked for and is written down on this host."""

    def __init__(self, hosts: Path = _HOSTS) -> None:
        self._names: dict[str, dict[str, None]] = defaultdict(dict)
        self._hosts = hosts

    def learn(self, mock: Mock) -> None:
        """Takes a name that was looked up, and the one that an encrypted connection was for."""
        if mock.tls is not None and mock.tls.sni:
            self._add(mock.destination.host, mock.tls.sni)
        if mock.protocol != "dns" or mock.response is None:
            return
        asked = [str(one["name"]) for one in mock.response.get("questions", ())]
        for record in mock.response.get("answers", ()):
            if record["type"] in _ADDRESSES:
                for name in (*asked, str(record["name"])):
                    self._add(_normalise(str(record["data"])), name.rstrip("."))

    def _add(self, host: str, name: str) -> None:
        if name and len(self._names[host]) < MOST_NAMES:
            self._names[host][name] = None

    def find(self, host: str) -> list[str]:
        """All names of a numeric address; none of what is a name itself."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return []
        found = dict(self._names.get(host, {}))
        if address.is_loopback:
            found["localhost"] = None
        found |= dict.fromkeys(self._read_hosts(host))
        return list(found)

    def _read_hosts(self, host: str) -> Iterator[str]:
        """The names in hosts(5)."""
        try:
            text = self._hosts.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == [host]:
                yield from words[1:]


def _normalise(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
