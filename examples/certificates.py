"""A certificate authority of one run, and certificates by it for the servers of this machine."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
_AUTHORITY = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
_SERVER = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
)


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate; a certificate for both ends and its key."""

    authority: Path
    certificate: Path
    key: Path

    def serve(self, is_mutual: bool = False) -> ssl.SSLContext:
        """For a server, which wants to see its clients' certificates too if ``is_mutual``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if is_mutual:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def trust(self) -> ssl.SSLContext:
        """For a client that trusts nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))

    def hand_over(self, folder: Path, user: str) -> Certificates:
        """Copies that a server under another name may read."""
        folder.mkdir()
        copies = [Path(shutil.copy(one, folder)) for one in (self.certificate, self.key)]
        for path in (folder, *copies):
            if os.geteuid() == 0:
                shutil.chown(path, user)
        return Certificates(self.authority, *copies)


def make_certificates(folder: Path) -> Certificates:
    """A new authority and one certificate, by the openssl command."""
    folder.mkdir()
    authority, authority_key = folder / "authority.pem", folder / "authority.key"
    certificate, key = folder / "server.pem", folder / "server.key"
    by_authority = ("-CA", str(authority), "-CAkey", str(authority_key))
    _make(authority, authority_key, "kebpf examples", _AUTHORITY)
    _make(certificate, key, "localhost", _SERVER, by_authority)
    certificate.write_text(certificate.read_text() + authority.read_text())
    return Certificates(authority, certificate, key)


def _make(
    path: Path, key: Path, name: str, extensions: Sequence[str], options: Sequence[str] = ()
) -> None:
    words = ["openssl", "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", *options]
    words += ["-out", str(path), "-keyout", str(key)]
    words += [word for one in extensions for word in ("-addext", one)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    key.chmod(0o600)
