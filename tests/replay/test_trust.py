"""What takes a store's place trusts all that it did, and the run's authority; OpenSSL judges."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kebpf.replay.certificates import Authority
from kebpf.replay.keystores import read_pem
from kebpf.replay.trust import UntrustedError, hash_name, plan_trust
from kebpf.replay.truststores import Program

LIMIT_S = 20
AUTHORITY, OTHER = Authority(), Authority()
KEY = ec.generate_private_key(ec.SECP256R1())


def make_program(folder: Path, **environment: str) -> Program:
    return Program(["true"], environment, folder)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def verifies(folder: Path, *options: str) -> bool:
    """Whether OpenSSL trusts the run's certificates by these options alone."""
    leaf = put(folder / "leaf", AUTHORITY.issue(["x.example"], KEY).public_bytes(Encoding.PEM))
    words = ["openssl", "verify", "-x509_strict", *options, str(leaf)]
    return not subprocess.run(words, capture_output=True, timeout=LIMIT_S, check=False).returncode


def test_a_bundle_has_all_it_had_and_one_more(tmp_path: Path) -> None:
    bundle = put(tmp_path / "bundle.pem", b"# ours\n" + OTHER.pem.rstrip())
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app", SSL_CERT_FILE=str(bundle)))
    merged = put(tmp_path / "merged", plan.files[bundle])
    assert read_pem(merged.read_bytes()) == [OTHER.certificate, AUTHORITY.certificate]
    assert verifies(tmp_path, "-no-CApath", "-no-CAstore", "-CAfile", str(merged))
    assert not verifies(tmp_path, "-no-CApath", "-no-CAstore", "-CAfile", str(bundle))
    assert bundle.read_bytes() == b"# ours\n" + OTHER.pem.rstrip()


def test_a_folder_of_hashed_names_gains_ours(tmp_path: Path) -> None:
    folder = tmp_path / "hashed"
    new, _ = hash_name(AUTHORITY.certificate.subject)
    put(folder / f"{new:08x}.0", OTHER.pem)  # another of that hash is there already
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app", SSL_CERT_DIR=str(folder)))
    seen = tmp_path / "seen"
    shutil.copytree(folder, seen)
    for path, data in plan.files.items():
        if path.parent == folder:
            put(seen / path.name, data)
    assert (seen / f"{new:08x}.1").exists()
    assert verifies(tmp_path, "-no-CAfile", "-no-CAstore", "-CApath", str(seen))


def test_both_hashes_are_openssls(tmp_path: Path) -> None:
    path = put(tmp_path / "ca.pem", AUTHORITY.pem)
    words = ["openssl", "x509", "-in", str(path), "-noout", "-subject_hash", "-subject_hash_old"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert [f"{one:08x}" for one in hash_name(AUTHORITY.certificate.subject)] == told.split()


def test_of_other_files_only_stores_of_authorities_are_covered(tmp_path: Path) -> None:
    leaf = OTHER.issue(["server.example"], KEY).public_bytes(Encoding.PEM)
    secret = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    store = put(tmp_path / "ca.pem", OTHER.pem)
    others = [
        put(tmp_path / "chain.pem", leaf + OTHER.pem),
        put(tmp_path / "both.pem", OTHER.pem + secret),
        put(tmp_path / "key.pem", secret),
        put(tmp_path / "damaged.pem", b"-----BEGIN CERTIFICATE-----\nxx\n"),
        put(tmp_path / "store.jks", b"\xfe\xed\xfe\xed"),
        put(tmp_path / "text.pem", b"hello"),
    ]
    files = plan_trust(AUTHORITY, make_program(tmp_path)).files
    assert store in files
    assert not set(others) & set(files)


def test_what_a_person_names_is_covered_whatever_it_holds(tmp_path: Path) -> None:
    leaf = put(tmp_path / "pinned.bin", OTHER.issue(["x"], KEY).public_bytes(Encoding.PEM))
    folder = tmp_path / "folder"
    folder.mkdir()
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app"), [leaf, folder])
    assert AUTHORITY.certificate in read_pem(plan.files[leaf])
    assert [path for path in plan.files if path.parent == folder]


@pytest.mark.parametrize("data", [b"hello", b"", b"\xfe\xed\xfe\xedxx"])
def test_what_is_none_is_refused_by_its_name(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "wrong", data)
    with pytest.raises(UntrustedError, match=str(path)):
        plan_trust(AUTHORITY, make_program(tmp_path / "app"), [path])
    with pytest.raises(UntrustedError, match="none"):
        plan_trust(AUTHORITY, make_program(tmp_path / "app"), [tmp_path / "none"])


def test_runtimes_without_a_file_are_told_by_variable(tmp_path: Path) -> None:
    preset = put(tmp_path / "preset.pem", OTHER.pem)
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app"))
    (place,) = {Path(plan.environment[name]) for name in ("NODE_EXTRA_CA_CERTS", "DENO_CERT")}
    assert plan.files[place] == AUTHORITY.pem
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app", NODE_EXTRA_CA_CERTS=str(preset)))
    assert "NODE_EXTRA_CA_CERTS" not in plan.environment
    assert read_pem(plan.files[preset]) == [OTHER.certificate, AUTHORITY.certificate]
    plan = plan_trust(AUTHORITY, make_program(tmp_path / "app", NODE_EXTRA_CA_CERTS="gone.pem"))
    assert plan.environment["NODE_EXTRA_CA_CERTS"] == str(place)


def test_no_key_and_no_file_comes_of_it(tmp_path: Path) -> None:
    put(tmp_path / "ca.pem", OTHER.pem)
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    files = plan_trust(AUTHORITY, make_program(tmp_path)).files
    after = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    assert before == after
    assert all(b"PRIVATE" not in data for data in files.values())
