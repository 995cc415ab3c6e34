"""What a process has mapped of TLS is found in it, whatever the files are called."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from kebpf.capture.memory import Mapping, read_mappings
from kebpf.capture.points import Library, Place
from kebpf.capture.tlscode import Known, TlsCode, find_tls_code
from tests.capture.binaries import find_library, list_symbols, needs_compiler
from tests.capture.interpreters import running

LOADING = """
import ctypes, sys
for line in sys.stdin:
    ctypes.CDLL(line.rstrip())
    print("loaded", flush=True)
"""


def functions_of(code: TlsCode) -> set[str]:
    return {point.function for point in code.points if point.place is Place.ENTRY}


def test_this_process_has_openssl() -> None:
    mappings = read_mappings(os.getpid())
    found = find_tls_code(os.getpid(), mappings)
    assert {code.library for code in found} == {Library.OPENSSL}
    assert {code.version for code in found} >= {ssl.OPENSSL_VERSION.partition(" (")[0].strip()}
    functions = set[str]().union(*map(functions_of, found))
    assert "SSL_free" in functions
    assert {name.lower() for name in functions} >= {
        "ssl_read",
        "ssl_write",
        "bio_read",
        "bio_write",
    }
    for code in found:
        assert code.mapping in mappings
        assert "x" in code.mapping.flags
        here = [each for each in mappings if each.file == code.mapping.file and "x" in each.flags]
        for point in code.points:
            assert any(
                each.offset <= point.offset < each.offset + each.end - each.start for each in here
            )


@needs_compiler
def test_libraries_of_another_name_that_are_loaded_later(tmp_path: Path) -> None:
    """And those that are gone from their folder by then."""
    path = find_library("libgnutls.so.30")
    other = tmp_path / "of another name"
    shutil.copyfile(path, other)
    with running(sys.executable, LOADING) as program:
        known: Known = {}
        before = find_tls_code(program.pid, read_mappings(program.pid), known)
        assert Library.GNUTLS not in {code.library for code in before}
        assert program.ask(str(other)) == "loaded"
        other.unlink()
        found = find_tls_code(program.pid, read_mappings(program.pid), known)
        (code,) = (code for code in found if code.library is Library.GNUTLS)
        assert functions_of(code) >= {
            "gnutls_record_recv",
            "gnutls_record_send",
            "gnutls_deinit",
        }
        symbols = list_symbols(path, "-D")
        starts = [point for point in code.points if point.place is Place.ENTRY]
        # the shorter form to send by leads to the longer one
        called = ("recv", "recv_seq", "send2")
        addresses = [symbols[f"gnutls_record_{name}"] for name in called]
        for point, address in zip(starts, addresses, strict=False):
            assert 0 <= point.offset - address <= 24


def test_files_are_looked_into_once(tmp_path: Path) -> None:
    mappings = read_mappings(os.getpid())
    known: Known = {}
    first = find_tls_code(os.getpid(), mappings, known)
    files = {each.file for each in mappings if "x" in each.flags and each.file[1]}
    assert 0 < len(known) <= len(files)
    for key in known:
        if not known[key]:
            known[key] = [(Library.GO, (), "remembered")]
    again = find_tls_code(os.getpid(), mappings, known)
    assert [code for code in again if code.library is not Library.GO] == first
    assert len(again) > len(first)


def test_a_process_that_is_gone_has_nothing() -> None:
    mappings = read_mappings(os.getpid())
    process = subprocess.Popen(["true"])
    process.wait(timeout=60)
    assert find_tls_code(process.pid, mappings) == []
    nowhere = Mapping(0, 4096, "r-xp", 0, ("00:00", 77), "")
    assert find_tls_code(os.getpid(), [nowhere]) == []
