"""The run's certificates, judged by OpenSSL and Python's ssl at their strictest."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kebpf.replay import certificates
from kebpf.replay.certificates import Authority

YEAR_NS = 365 * 24 * 3600 * 1_000_000_000
LIMIT_S = 20


def verify(authority: Authority, leaf: x509.Certificate, folder: Path, *options: str) -> str:
    """What OpenSSL says of a leaf."""
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *options]
    words += ["-no-CAfile", "-no-CApath", "-CAfile", str(folder / "ca.pem")]
    done = subprocess.run(
        [*words, str(folder / "leaf.pem")],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.stdout + done.stderr


def list_open_files() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(
    ("option", "name", "is_fine"),
    [
        ("-verify_hostname", "api.example", True),
        ("-verify_hostname", "other.example", False),
        ("-verify_ip", "10.0.0.7", True),
        ("-verify_ip", "2001:db8::7", True),
        ("-verify_ip", "10.0.0.8", False),
        ("-verify_hostname", "x" * 63 + "." + "y" * 40 + ".example", True),
    ],
)
def test_openssl_accepts_it_strictly_for_its_names_only(
    tmp_path: Path, option: str, name: str, is_fine: bool
) -> None:
    authority = Authority()
    names = ["x" * 63 + "." + "y" * 40 + ".example", "api.example", "10.0.0.7", "2001:db8::7"]
    leaf = authority.issue(names, ec.generate_private_key(ec.SECP256R1()))
    assert ("leaf.pem: OK" in verify(authority, leaf, tmp_path, option, name)) == is_fine


def test_another_runs_authority_is_not_trusted(tmp_path: Path) -> None:
    leaf = Authority().issue(["api.example"], ec.generate_private_key(ec.SECP256R1()))
    assert "unable to get local issuer" in verify(Authority(), leaf, tmp_path)


def test_it_is_valid_now_and_at_the_time_of_the_recording(tmp_path: Path) -> None:
    now_ns = time.time_ns()
    authority = Authority([now_ns - 3 * YEAR_NS, now_ns + YEAR_NS])
    leaf = authority.issue(["api.example"], ec.generate_private_key(ec.SECP256R1()))
    for years, is_valid in ((-3, True), (0, True), (1, True), (-4, False), (2, False)):
        moment = (now_ns + years * YEAR_NS) // 1_000_000_000
        told = verify(authority, leaf, tmp_path, "-attime", str(moment))
        assert ("leaf.pem: OK" in told) == is_valid


def test_it_says_all_that_rfc_5280_asks_for() -> None:
    authority = Authority()
    leaf = authority.issue(["api.example"], ec.generate_private_key(ec.SECP256R1()))
    own = authority.certificate.extensions
    basic = own.get_extension_for_class(x509.BasicConstraints)
    usage = own.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, usage.critical) == (True, True, True)
    assert usage.value.key_cert_sign
    subject = own.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == subject
    assert authority.certificate.serial_number != leaf.serial_number
    assert leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value[0].dotted_string
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.example"]


def test_no_key_has_a_file_on_any_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL is given names of files that are in memory only, and closed right afterwards."""
    opened: list[tuple[str, str]] = []

    class Watched(ssl.SSLContext):
        def load_cert_chain(self, certfile, *others, **named) -> None:  # type: ignore[no-untyped-def]
            opened.append((str(certfile), str(Path(certfile).readlink())))
            super().load_cert_chain(certfile, *others, **named)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = list_open_files()
    authority = Authority()
    for is_rsa in (False, True):
        authority.load(Watched(ssl.PROTOCOL_TLS_SERVER), ["api.example"], is_rsa)
    assert len(opened) == 2
    for name, target in opened:
        assert name.startswith("/proc/self/fd/")
        assert target.startswith("/memfd:")
        assert target.endswith("(deleted)")
    assert list_open_files() == before
    assert not list(tmp_path.iterdir())
    assert b"PRIVATE" not in authority.pem


def test_a_key_that_is_refused_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list_open_files()
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = Authority().issue(["x"], key).public_bytes(Encoding.PEM)
    with pytest.raises(ssl.SSLError):
        certificates._load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, other)
    assert list_open_files() == before
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert secret.startswith(b"-----BEGIN PRIVATE KEY")
