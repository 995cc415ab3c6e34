"""Java's own keytool reads what was written, with the certificate in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
)

from kebpf.replay.certificates import Authority
from kebpf.replay.keystores import USUAL_PASSWORD, add_to_keystore, is_keystore, read_pem

LIMIT_S = 60
OTHERS = [Authority().certificate for _ in range(3)]
OURS = Authority().certificate


def to_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def make_pkcs12(password: str) -> bytes:
    named = [PKCS12Certificate(one, f"Name {n}".encode()) for n, one in enumerate(OTHERS)]
    return serialize_java_truststore(named, BestAvailableEncryption(password.encode()))


def list_store(data: bytes, folder: Path, password: str = USUAL_PASSWORD) -> set[bytes]:
    """All certificates in a store, by keytool, which checks the digest."""
    path = folder / "store"
    path.write_bytes(data)
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("there is no Java here")
    words = [keytool, "-list", "-rfc", "-keystore", str(path), "-storepass", password]
    done = subprocess.run(words, capture_output=True, timeout=LIMIT_S, check=True)
    return {to_der(one) for one in read_pem(done.stdout)}


@pytest.mark.parametrize("password", [USUAL_PASSWORD, "of its own"])
def test_both_forms_gain_one_certificate(tmp_path: Path, password: str) -> None:
    passwords = [] if password == USUAL_PASSWORD else [password]
    everything = {to_der(one) for one in (*OTHERS, OURS)}
    first = add_to_keystore(make_pkcs12(password), "ours", to_der(OURS), passwords)
    assert list_store(first, tmp_path, password) == everything
    further = to_der(Authority().certificate)
    second = add_to_keystore(first, "further", further, passwords)
    assert list_store(second, tmp_path, password) == everything | {further}


def test_the_forms_are_known_by_their_beginnings() -> None:
    store = add_to_keystore(make_pkcs12("x"), "ours", to_der(OURS), ["x"])
    assert is_keystore(store)
    assert is_keystore(make_pkcs12("x"))
    assert not is_keystore(OURS.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    "data", [b"", b"\xfe\xed\xfe\xed", b"\xfe\xed\xfe\xed" + bytes(40), make_pkcs12("not known")]
)
def test_what_cannot_be_read_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        add_to_keystore(data, "ours", to_der(OURS))
    assert read_pem(data) == []
