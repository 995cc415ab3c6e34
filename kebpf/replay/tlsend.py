"""The server's end of TLS on one connection: what came goes in, plaintext comes out, and back."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kebpf.recording.model import Tls

READ_SIZE = 1 << 16
USUAL_PROTOCOLS = ("http/1.1", "http/1.0", "postgresql")  # of ALPN, unless others were recorded
_CIPHERS = "DEFAULT:@SECLEVEL=0"  # also what old clients can
_NOT_SHARED = frozenset(
    ("NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_SHARED_SIGNATURE_ALGORITHMS")
)


class Issuer(Protocol):
    """Gives a server's context a certificate for names, with its key."""

    def load(self, context: ssl.SSLContext, names: Sequence[str], is_rsa: bool = False) -> bytes:
        """``is_rsa``: one for clients that read only such.  Its DER."""


class TlsError(Exception):
    """The connection cannot go on.  ``alert`` is what the client said, in OpenSSL's words."""

    def __init__(self, reason: str, alert: str = "") -> None:
        super().__init__(reason)
        self.alert = alert


class _Handshake(ssl.SSLObject):
    """One handshake, and the host that the client asked for."""

    asked = ""
    shown = b""  # the certificate that it got, hashed


class Encryption:
    """Makes the server's ends of a run's connections; certificates are issued as they are needed.

    ``find_names`` tells what a numeric address is called, for clients that do not say.
    """

    def __init__(
        self, issuer: Issuer, find_names: Callable[[str], Sequence[str]] = lambda _: ()
    ) -> None:
        self._issuer = issuer
        self._find_names = find_names
        self._contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
        self._shown: dict[ssl.SSLContext, bytes] = {}

    def open(self, host: str, recorded: Sequence[Tls] = ()) -> TlsEnd:
        """The end of a connection to an address, as those that were ``recorded`` there."""
        return TlsEnd(lambda is_rsa: self._find_entry(host, tuple(recorded), is_rsa))

    def _find_entry(self, host: str, recorded: tuple[Tls, ...], is_rsa: bool) -> ssl.SSLContext:
        """The context in which a handshake begins: the name that is asked for leads to another."""
        key = ("entry", host, recorded, is_rsa)
        if key in self._contexts:
            return self._contexts[key]

        def choose(handshake: Any, name: str | None, _: ssl.SSLContext) -> None:
            handshake.asked = name or ""
            protocols = _list_protocols(name or "", recorded)
            try:
                found = self._find_context(name or host, protocols, is_rsa)
            except ValueError:  # no name that a certificate can hold
                found = self._find_context(host, protocols, is_rsa)
            handshake.context, handshake.shown = found, self._shown[found]

        context = _make_context(USUAL_PROTOCOLS)
        context.sni_callback = choose
        self._contexts[key] = context
        return context

    def _find_context(self, name: str, protocols: Sequence[str], is_rsa: bool) -> ssl.SSLContext:
        key = (name, *protocols, is_rsa)
        if key not in self._contexts:
            context = _make_context(protocols)
            shown = self._issuer.load(context, [name, *self._find_names(name)], is_rsa)
            self._shown[context] = hashlib.sha256(shown).digest()
            self._contexts[key] = context
        return self._contexts[key]


def _list_protocols(name: str, recorded: Sequence[Tls]) -> list[str]:
    """What is chosen from by ALPN, best first: as for the same name, else as for any."""
    alike = [tls for tls in recorded if tls.sni == name] or recorded
    chosen = [tls.alpn for tls in alike if tls.alpn]
    return list(dict.fromkeys((*chosen, *USUAL_PROTOCOLS)))


def _make_context(protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(list(protocols))
    context.num_tickets = 0  # one that a client leaves unread would make its end a reset
    context.sslobject_class = _Handshake
    return context


class TlsEnd:
    """Both ways of one connection; to be sent is what `take_unsent` gives."""

    def __init__(self, find_context: Callable[[bool], ssl.SSLContext]) -> None:
        self.is_open = False
        self.is_ended = False  # the client will send no more
        self.has_spoken = False  # it sent something behind the handshake
        self.has_failed = False  # by its word or ours, which is told elsewhere
        self._find_context = find_context
        self._first = b""  # all that came before anything was answered
        self._begin(is_rsa=False)

    def _begin(self, is_rsa: bool) -> None:
        self._is_rsa = is_rsa
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = self._find_context(is_rsa).wrap_bio(self._incoming, self._outgoing, server_side=True)
        assert isinstance(made, _Handshake)
        self._object = made

    @property
    def facts(self) -> Tls:
        """What the handshake chose, as far as it has come."""
        alpn, version = self._object.selected_alpn_protocol(), self._object.version()
        return Tls(self._object.asked, alpn or "", version or "")

    @property
    def certificate_hash(self) -> bytes:
        """That of the certificate shown, by which a channel is told from others (RFC 5929, 4)."""
        return self._object.shown

    def receive(self, data: bytes) -> bytes:
        """Takes what came; gives the plaintext in it.  Raises `TlsError`."""
        self._incoming.write(data)
        if not self.is_open:
            self._first += data
            self._shake_hands()
        return self._read() if self.is_open else b""

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            if error.reason in _NOT_SHARED and not self._is_rsa:
                self._begin(is_rsa=True)  # nothing but its alert would have been sent so far
                self._incoming.write(self._first)
                self._shake_hands()
                return
            raise _explain(error) from error
        self.is_open, self._first = True, b""

    def _read(self) -> bytes:
        pieces = []
        try:
            while piece := self._object.read(READ_SIZE):
                pieces.append(piece)
            self.is_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_ended = True
        except ssl.SSLError as error:
            raise _explain(error) from error
        self.has_spoken = self.has_spoken or bool(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> bytes:
        """Encrypts; all that is to be sent by now."""
        view, at = memoryview(data), 0
        while at < len(data):
            at += self._object.write(view[at:])
        return self._outgoing.read()

    def take_unsent(self) -> bytes:
        """What is to be sent by now."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """Says that no more will come; what is to be sent for that."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # the client has not said so yet
            self._object.unwrap()
        return self._outgoing.read()


def _explain(error: ssl.SSLError) -> TlsError:
    reason = error.reason or str(error)
    if "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].lower().replace("_", " ")
        return TlsError(f"the client ended the TLS handshake: {alert}", alert)
    return TlsError(f"no TLS could be agreed on: {reason.lower().replace('_', ' ')}")
