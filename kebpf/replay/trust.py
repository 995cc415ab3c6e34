"""What a program is to find in place of its stores of authorities: the same and the run's own.

Nothing is written here: the contents are for the mounts that the program alone will see.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kebpf.replay.appfiles import find_app_stores, find_stores_of_binary
from kebpf.replay.certificates import Authority
from kebpf.replay.keystores import add_to_keystore, is_keystore, read_pem
from kebpf.replay.truststores import Program, Stores, find_stores, is_file

ALIAS = "kebpf-test-run"
FILE_NAME = "kebpf-test-run.pem"
#: Variables by which runtimes are told of more authorities than those they were compiled with.
ADDING_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
#: Variables that name stores of authorities, whatever these hold.
VARIABLES = (
    *ADDING_VARIABLES, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "PGSSLROOTCERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "GIT_SSL_CAINFO", "PIP_CERT",
    "HTTPLIB2_CA_CERTS", "WEBSOCKET_CLIENT_CA_BUNDLE",
)  # fmt: skip
MOST_SIZE = 32 << 20  # bytes of one store
_BEGIN = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEY = b"PRIVATE KEY-----"
_PASSWORD_OPTION = "-Djavax.net.ssl.trustStorePassword="
_MOST_SAME_NAMED = 32  # certificates of one hash in a folder


class UntrustedError(ValueError):
    """A file that a person named holds no authorities that could be added to."""


@dataclass(frozen=True, slots=True)
class TrustPlan:
    """``files`` maps a path to what is to be found there; ``environment`` is what is added."""

    files: dict[Path, bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def plan_trust(authority: Authority, program: Program, named: Sequence[Path] = ()) -> TrustPlan:
    """Finds all stores that can be known and adds the authority to each.

    ``named`` are stores that a person says the program trusts.  Raises `UntrustedError`.
    """
    environment = program.environment
    stores = find_stores(program)
    stores.add_bundles(
        program.folder / environment[name] for name in VARIABLES if environment.get(name)
    )
    stores.add_doubtful(find_app_stores(program.folder, program.home, program.environment))
    for executable in dict.fromkeys(program.find_executables()):
        stores.add_doubtful(find_stores_of_binary(executable))
    merging = _Merging(authority, _find_passwords(program))
    files = {path: merged for path in named for path, merged in merging.add_named(path)}
    files |= merging.add_all(stores)
    place = _choose_place(stores)
    files[place] = authority.pem
    return TrustPlan(files, dict(_set_variables(environment, place, program.folder)))


def _find_passwords(program: Program) -> list[str]:
    words = [word for text in program.environment.values() for word in text.split()]
    return [
        word.removeprefix(_PASSWORD_OPTION)
        for text in (*program.words, *words)
        for word in text.split()
        if word.startswith(_PASSWORD_OPTION)
    ]


def _choose_place(stores: Stores) -> Path:
    """Where the authority's own file is to be: in a folder that is covered anyway, if there is."""
    return next(iter(stores.folders), Path("/etc")) / FILE_NAME


def _set_variables(
    environment: Mapping[str, str], place: Path, folder: Path
) -> Iterator[tuple[str, str]]:
    for name in ADDING_VARIABLES:
        if not (environment.get(name) and is_file(folder / environment[name])):
            yield name, str(place)


class _Merging:
    def __init__(self, authority: Authority, passwords: Sequence[str]) -> None:
        self._pem = authority.pem
        self._certificate = authority.certificate
        self._der = authority.certificate.public_bytes(Encoding.DER)
        self._passwords = passwords

    def add_all(self, stores: Stores) -> dict[Path, bytes]:
        files: dict[Path, bytes] = {}
        for path in stores.bundles:
            data = _read(path)
            if _holds_certificates(data):
                files[path] = self._add_to_bundle(data)
        for path in stores.doubtful:
            merged = self._add_if_authorities(_read(path))
            if merged is not None:
                files[path] = merged
        for folder in stores.folders:
            files |= {folder / name: self._pem for name in self._name_hashed(folder)}
        files |= {folder / FILE_NAME: self._pem for folder in stores.anchors}
        return files

    def add_named(self, path: Path) -> Iterator[tuple[Path, bytes]]:
        """One that a person named: a file in whatever form, or a folder of hashed names."""
        path = path.resolve()
        if path.is_dir():
            yield from ((path / name, self._pem) for name in self._name_hashed(path))
            return
        data = _read(path)
        if _holds_certificates(data):
            yield path, self._add_to_bundle(data)
            return
        if not is_keystore(data):
            raise UntrustedError(f"{path} holds no certificates (PEM, JKS or PKCS #12 is read)")
        try:
            yield path, self._add_to_keystore(data)
        except ValueError as error:
            raise UntrustedError(f"the key store {path} cannot be read: {error}") from error

    def _add_if_authorities(self, data: bytes) -> bytes | None:
        """``None`` for what is no store of authorities, such as a server's own chain."""
        if _holds_certificates(data):
            is_store = _KEY not in data and _begins_with_authority(read_pem(data))
            return self._add_to_bundle(data) if is_store else None
        if not is_keystore(data):
            return None
        try:
            return self._add_to_keystore(data)
        except ValueError:
            return None

    def _add_to_bundle(self, data: bytes) -> bytes:
        return data.rstrip() + b"\n" + self._pem

    def _add_to_keystore(self, data: bytes) -> bytes:
        return add_to_keystore(data, ALIAS, self._der, self._passwords)

    def _name_hashed(self, folder: Path) -> Iterator[str]:
        """The names by which OpenSSL finds the certificate in a folder, and older ones."""
        for number in hash_name(self._certificate.subject):
            yield next(
                name
                for count in range(_MOST_SAME_NAMED)
                if not os.path.lexists(folder / (name := f"{number:08x}.{count}"))
            )


def hash_name(name: x509.Name) -> tuple[int, int]:
    """As X509_NAME_hash and X509_NAME_hash_old give it, for a short name in small letters."""
    whole = name.public_bytes()
    content = whole[2:]  # behind the outer SEQUENCE's head: the canonical form has none
    new = hashlib.sha1(content).digest()
    old = hashlib.md5(whole).digest()
    return int.from_bytes(new[:4], "little"), int.from_bytes(old[:4], "little")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= MOST_SIZE else b""
    except OSError:
        return b""


def _holds_certificates(data: bytes) -> bool:
    return any(mark in data for mark in _BEGIN)


def _begins_with_authority(certificates: Iterable[x509.Certificate]) -> bool:
    """A chain begins with what it certifies; a store holds nothing else than authorities."""
    first = next(iter(certificates), None)
    if first is None:
        return False
    if first.issuer == first.subject:
        return True
    try:
        return first.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
