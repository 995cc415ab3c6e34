"""What one run needs for TLS: an authority, made when it is first needed, and who trusts it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kebpf.protocols.postgres.scram import Login
from kebpf.replay.launch import LaunchError
from kebpf.replay.routing import Routes
from kebpf.replay.tlsend import Encryption

if TYPE_CHECKING:  # a run without TLS loads nothing of it
    from kebpf.replay.certificates import Authority
    from kebpf.replay.trust import TrustPlan
    from kebpf.replay.truststores import Program


class RunAuthority:
    """A run's authority; ``times_ns`` are those in which its certificates must be valid too."""

    def __init__(self, times_ns: Sequence[int] = ()) -> None:
        self._times_ns = times_ns

    @cached_property
    def made(self) -> Authority:
        """It, made now if it was not before."""
        from kebpf.replay.certificates import Authority

        return Authority(self._times_ns)

    def load(self, context: ssl.SSLContext, names: Sequence[str], is_rsa: bool = False) -> bytes:
        """Gives a server's context the certificate for names."""
        return self.made.load(context, names, is_rsa)


class RunTls:
    """The TLS of one responder."""

    def __init__(self, authority: RunAuthority, routes: Routes) -> None:
        self._authority = authority
        self._routes = routes
        self.encryption = Encryption(authority, routes.find_names)

    def plan_trust(
        self,
        command: str | Sequence[str],
        environment: dict[str, str],
        trusted: Sequence[Path] = (),
        executables: Sequence[str] = (),
    ) -> TrustPlan | None:
        """How a program that is to be started here trusts the authority.

        ``None`` if neither recording nor person says that it needs to.  Raises `LaunchError`.
        """
        if not (trusted or self._routes.has_tls):
            return None
        from kebpf.replay.trust import UntrustedError, plan_trust

        try:
            program = _describe(command, environment, executables)
            return plan_trust(self._authority.made, program, trusted)
        except UntrustedError as error:
            raise LaunchError(f"what the application trusts cannot be read: {error}") from error

    def find_login(self, command: str | Sequence[str], environment: dict[str, str]) -> Login:
        """What clients of PostgreSQL log in with, where they insist on being asked for it."""
        if "postgres" not in self._routes.protocols:
            return Login()
        from kebpf.replay.passwords import find_login

        return find_login(_describe(command, environment))


def _describe(
    command: str | Sequence[str], environment: dict[str, str], executables: Sequence[str] = ()
) -> Program:
    from kebpf.replay.truststores import Program

    words = [command] if isinstance(command, str) else list(command)
    return Program(words, environment, Path.cwd(), executables)
