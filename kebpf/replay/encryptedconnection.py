"""A connection to the application over TLS, as a recorded one was; any certificate is accepted."""

from __future__ import annotations

import ssl

from kebpf.recording.model import Tls
from kebpf.replay.connection import READ_SIZE, Address, Connection

_CIPHERS = "DEFAULT:@SECLEVEL=0"  # whatever the application's keys are


class HandshakeError(Exception):
    """The application and this end could not agree on TLS; the text says why, in a few words."""


class EncryptedConnection(Connection):
    """See `Connection`; what is written and read is the plaintext."""

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _make_context(tls).wrap_bio(
            self._incoming, self._outgoing, server_hostname=tls.sni or None
        )

    async def connect(self, address: Address) -> None:
        """Raises `HandshakeError` too."""
        await super().connect(address)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError as error:
                self._flush()
                raise _explain(error) from error
            else:
                self._flush()
                return
            data = await super().read()
            if not data:
                raise HandshakeError("it closed the connection in the handshake")
            self._incoming.write(data)

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            super().write(data)

    async def read(self) -> bytes:
        """Raises `HandshakeError` where what came is no TLS."""
        while (data := self._decrypt()) is None:
            came = await super().read()
            if not came:
                return b""
            self._incoming.write(came)
        return data

    def _decrypt(self) -> bytes | None:
        """The plaintext that is there; nothing at its end, ``None`` if more has to come."""
        try:
            return self._tls.read(READ_SIZE)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise _explain(error) from error

    def peek(self) -> bytes | None:
        """What came is taken from the socket, for only decrypted it says whether it is content."""
        opened = self._socket
        assert opened is not None
        while (data := self._decrypt()) is None:
            try:
                came = opened.recv(READ_SIZE)
            except BlockingIOError:
                return None
            if not came:
                return b""
            self._incoming.write(came)
        return data


def _make_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(_CIPHERS)
    if tls.alpn:
        context.set_alpn_protocols([tls.alpn])
    return context


def _explain(error: ssl.SSLError) -> HandshakeError:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return HandshakeError(reason)
