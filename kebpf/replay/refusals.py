"""Clients that do not take the run's certificates: who they are, what they read, what to set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kebpf.kernel.connected import find_inode_of
from kebpf.kernel.members import Network
from kebpf.kernel.processes import socket_inodes
from kebpf.kernel.runtimes import Runtime, TlsUser, identify
from kebpf.replay.processes import Family, Group
from kebpf.replay.tlsend import TlsEnd, TlsError

MOST_LOOKED_FOR = 16  # handshakes with one destination before any of which something came
_CODE = "or only the file that its code gives it"
_STORES = {
    Runtime.PYTHON: (
        "the file that its code gives it (cafile=, verify=, sslrootcert=), SSL_CERT_FILE and "
        "SSL_CERT_DIR, REQUESTS_CA_BUNDLE, certifi's cacert.pem, or OpenSSL's own folder"
    ),
    Runtime.NODE: f"the roots it was compiled with and NODE_EXTRA_CA_CERTS, {_CODE} (ca:)",
    Runtime.DENO: f"the roots it was compiled with and DENO_CERT, {_CODE}",
    Runtime.JAVA: f"lib/security/cacerts or -Djavax.net.ssl.trustStore, {_CODE}",
    Runtime.GO: f"the system's bundle or SSL_CERT_FILE and SSL_CERT_DIR, {_CODE} (RootCAs)",
    Runtime.GNUTLS: f"the system's bundle, {_CODE}",
    Runtime.NSS: "a database of certificates of its own (cert9.db)",
    Runtime.OPENSSL: f"OpenSSL's own folder or SSL_CERT_FILE and SSL_CERT_DIR, {_CODE}",
    Runtime.RUSTLS: (
        "the system's bundle (rustls-native-certs), or roots that it was compiled with "
        "(webpki-roots), to which nothing can be added"
    ),
    Runtime.UNKNOWN: "a store that is not known",
}
_ADVICE = (
    "name the file that it trusts: --trust FILE, or trust: in kebpf.yml "
    "(a client that pins a key or a certificate cannot be answered)"
)
_NOT_ASKED = (
    "the recording has no call over TLS, so it was shown no CA of this run: record again, or name "
    "what it trusts with --trust FILE"
)


@dataclass(slots=True)
class _Place:
    """What came of the handshakes with one destination."""

    looked_for: int = 0
    has_spoken: bool = False  # somebody took the certificate and said something
    silent: dict[str, TlsUser | None] = field(default_factory=dict)  # by the name asked for


class Refusals:
    """What is known of a run's clients.

    ``group`` is who they are, ``is_trusted`` whether they were shown the run's authority.
    """

    def __init__(self) -> None:
        self.group: Group | None = None
        self.is_trusted = True
        self._places: dict[str, _Place] = {}
        self._users: dict[TlsEnd, TlsUser | None] = {}

    def begin(
        self, destination: str, end: TlsEnd, peer: tuple[str, int], own: tuple[str, int]
    ) -> None:
        """A handshake begins: its client waits, so it is there to be found."""
        place = self._places.setdefault(destination, _Place())
        if place.has_spoken or place.looked_for >= MOST_LOOKED_FOR:
            return
        place.looked_for += 1
        self._users[end] = self._find(peer, own)

    def _find(self, peer: tuple[str, int], own: tuple[str, int]) -> TlsUser | None:
        if self.group is None:
            return None
        inode = find_inode_of(peer, own)
        for pid in self._list_members(self.group) if inode else ():
            if inode in socket_inodes(pid):
                return identify(pid)
        return None

    def _list_members(self, group: Group) -> Iterable[int]:
        if isinstance(group, Network):
            return group.find_members()
        return Family(0, group).find_members()

    def end(self, destination: str, end: TlsEnd) -> None:
        """A connection is over."""
        user = self._users.pop(end, None)
        place = self._places.setdefault(destination, _Place())
        if end.has_spoken:
            place.has_spoken = True
        elif not end.has_failed:
            place.silent[end.facts.sni] = user

    def explain(self, end: TlsEnd, error: TlsError) -> str:
        """A handshake that failed, in one line: by whom, and what may be done about it."""
        end.has_failed = True
        if not error.alert:
            return str(error)
        name, user = end.facts.sni, self._users.get(end)
        who = "the client" if user is None else str(user)
        what = f"the certificate for {name}" if name else "the certificate"
        return f"{who} refused {what} ({error.alert}); {self._advise(user)}"

    def _advise(self, user: TlsUser | None) -> str:
        if not self.is_trusted:
            return _NOT_ASKED
        reads = "" if user is None else f"{user.runtime.value} reads {_STORES[user.runtime]}; "
        return f"{reads}{_ADVICE}"

    def list_silent(self) -> list[str]:
        """A sentence on each destination whose clients all went without a word.

        That is how a client refuses that says nothing of it, as Node does.
        """
        return [
            f"{'a client' if user is None else user} closed its connections to {destination} "
            f"{f'({name}) ' if name else ''}in or behind the TLS handshake without a "
            f"word, as one does that does not trust the certificate; {self._advise(user)}"
            for destination, place in self._places.items()
            if not place.has_spoken
            for name, user in place.silent.items()
        ]
