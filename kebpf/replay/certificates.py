"""A certificate authority for one run, which nothing but the application under test ever trusts.

Certificates are as RFC 5280 asks, read strictly.  Private keys are in this process's memory only:
where OpenSSL insists on the name of a file, the file is one that has no place on any disk.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import ssl
import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MARGIN = datetime.timedelta(days=1)  # before the earliest time at which they must be valid
VALIDITY = datetime.timedelta(days=90)  # behind the latest
MOST_COMMON_NAME = 64  # characters: ub-common-name of RFC 5280, appendix A.1
RSA_SIZE = 2048  # bits

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Issues certificates for servers, valid now and at each of ``times_ns`` (Unix nanoseconds)."""

    def __init__(self, times_ns: Iterable[int] = ()) -> None:
        times = [_read_time(time_ns) for time_ns in (time.time_ns(), *times_ns)]
        self._begin, self._end = min(times) - MARGIN, max(times) + VALIDITY
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        number = os.urandom(4).hex()
        self._name = _make_name(f"kebpf test run {number}")
        self._certificate = self._certify_itself()

    @cached_property
    def _rsa_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_SIZE)

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""
        return self._certificate

    @property
    def pem(self) -> bytes:
        """Its own certificate as a file of trusted ones holds it."""
        return self._certificate.public_bytes(Encoding.PEM)

    def load(self, context: ssl.SSLContext, names: Sequence[str], is_rsa: bool = False) -> bytes:
        """Gives a server's context the certificate for names and numeric addresses, with its key.

        With ``is_rsa`` it is one for clients that cannot read the usual one.  Its DER.
        """
        key: PrivateKey = self._rsa_key if is_rsa else self._leaf_key
        certificate = self.issue(names, key)
        _load_chain(context, certificate.public_bytes(Encoding.PEM), key)
        return certificate.public_bytes(Encoding.DER)

    def issue(self, names: Sequence[str], key: PrivateKey) -> x509.Certificate:
        """A server's certificate."""
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        known = x509.SubjectAlternativeName(list(map(_make_alternative, names)))
        builder = self._begin_certificate(key, _make_name(names[0]))
        for extension, is_critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_make_usage(digital_signature=True, key_encipherment=is_rsa), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (known, False),
        ):
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(self._key, hashes.SHA256())

    def _certify_itself(self) -> x509.Certificate:
        builder = self._begin_certificate(self._key, self._name)
        for extension in (
            x509.BasicConstraints(ca=True, path_length=0),
            _make_usage(key_cert_sign=True, crl_sign=True),
        ):
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _begin_certificate(self, key: PrivateKey, subject: x509.Name) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._begin)
            .not_valid_after(self._end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(issuer, False)
        )


def _read_time(time_ns: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, tz=datetime.UTC)


def _make_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:MOST_COMMON_NAME])])


def _make_alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make_usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: PrivateKey) -> None:
    """By a file in memory, which is gone when this returns; memfd_create(2)."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.memfd_create("kebpf-key", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(descriptor, secret + certificate)
        fcntl.fcntl(
            descriptor,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL,
        )
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
