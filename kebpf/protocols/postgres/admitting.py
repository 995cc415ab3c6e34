"""Lets a client in: at once, or by SCRAM where it takes no server that does not ask."""

from __future__ import annotations

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.scram import Login, Scram, WrongPasswordError
from kebpf.protocols.postgres.writer import write

_OK, _SASL, _CONTINUE, _FINAL = 0, 10, 11, 12
_RECORDED = "scram-sha-256"  # as Opening calls it
_NO_SIZE = 0xFFFFFFFF
UNKNOWN = (
    "the client insists on authentication (channel_binding=require or require_auth), for which "
    "its password must be known: set PGPASSWORD where kebpf runs"
)


class Admission:
    """One client's, from its StartupMessage on.

    ``welcome`` is what a client that is let in gets behind AuthenticationOk, ``method`` how it was
    recorded that clients log in, if it was.
    """

    def __init__(self, login: Login, welcome: bytes, method: str | None = None) -> None:
        self.is_open = False  # the client is let in
        self.problem: str | None = None
        self._login = login
        self._method = method
        self._welcome = welcome
        self._scram: Scram | None = None
        self._has_begun = False

    def begin(self) -> bytes:
        """What answers the StartupMessage."""
        if self._method not in (None, _RECORDED) or not self._login.is_to_be_asked:
            return self._let_in()
        self._scram = Scram(self._login)
        names = b"".join(name.encode() + b"\0" for name in self._scram.mechanisms)
        return write(m.Authentication(_SASL, names + b"\0"))

    def receive(self, message: m.FrontendMessage) -> bytes:
        """Takes what a client answers that is not let in yet.  Raises `ProtocolError`."""
        scram = self._scram
        if scram is None or not isinstance(message, m.PasswordMessage):
            raise ProtocolError("a SASL message is expected")
        if not self._has_begun:
            self._has_begun = True
            return write(m.Authentication(_CONTINUE, scram.begin(*_read_initial(message.data))))
        try:
            final = scram.end(message.data)
        except WrongPasswordError:  # it may be one of those that do not insist
            return self._let_in()
        return write(m.Authentication(_FINAL, final)) + self._let_in()

    def end(self) -> None:
        """The client has gone without a message: one that insists does when it is let in."""
        if self._login.is_insisting and self.is_open:
            self.problem = UNKNOWN

    def _let_in(self) -> bytes:
        self.is_open = True
        return write(m.Authentication(_OK)) + self._welcome


def _read_initial(data: bytes) -> tuple[str, bytes]:
    """Mechanism and message of a SASLInitialResponse (protocol, 55.7)."""
    name, end, rest = data.partition(b"\0")
    size = int.from_bytes(rest[:4], "big")
    if not end or len(rest) < 4 or size not in (len(rest) - 4, _NO_SIZE):
        raise ProtocolError("a SASLInitialResponse is damaged")
    return name.decode("ascii", "replace"), rest[4:]
