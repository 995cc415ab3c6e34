"""Finds where a process's TLS libraries read and write plaintext, for probes to be put there.

Libraries are found by the functions they have, whatever they are called and wherever they are:
shared, in a wheel, or part of the program.  What is not there is left out and never stops the
rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kebpf.capture import gnutls, gotls, openssl, rustls
from kebpf.capture.elf import Elf, ElfError
from kebpf.capture.gopclntab import find_go_version, has_go
from kebpf.capture.memory import Mapping, path_of
from kebpf.capture.points import Library, Point
from kebpf.capture.symbols import find_functions

_MOST_KNOWN = 4096  # files
_NAMES = openssl.FUNCTIONS | gnutls.FUNCTIONS

FileCode = tuple[Library, tuple[Point, ...], str]
Known = dict[tuple[int, int, int, int], list[FileCode]]


@dataclass(frozen=True, slots=True)
class TlsCode:
    """A library in one process; ``mapping`` is one of its file's, ``version`` as it says it."""

    library: Library
    mapping: Mapping
    points: tuple[Point, ...]
    version: str


def find_tls_code(
    pid: int, mappings: Sequence[Mapping], known: Known | None = None
) -> list[TlsCode]:
    """All that a process has mapped; what it cannot be read of is left out.

    ``known`` is what was found in files, of any process; it is added to, so that each file is
    looked into once.  Raises nothing if the process is gone.
    """
    known = {} if known is None else known
    files = {
        mapping.file: mapping
        for mapping in reversed(mappings)
        if mapping.file[1] and "x" in mapping.flags
    }
    found = [
        TlsCode(library, mapping, points, version)
        for mapping in files.values()
        for library, points, version in look_into(path_of(pid, mapping), known)
    ]
    return [_with_version(code, found) for code in found]


def _with_version(code: TlsCode, others: list[TlsCode]) -> TlsCode:
    """One that does not say its version belongs to the one in the same folder that does.

    So it is with OpenSSL, where libcrypto has the text.
    """
    folder = code.mapping.path.rpartition("/")[0]
    versions = {
        other.version
        for other in others
        if other.library is code.library and other.mapping.path.rpartition("/")[0] == folder
    } - {""}
    if code.version or len(versions) != 1:
        return code
    return replace(code, version=versions.pop())


def look_into(path: str, known: Known) -> Iterable[FileCode]:
    """What a file has; ``known`` is as for `find_tls_code`.  Raises nothing if it is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a link that leads to the file by itself
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in known:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[key] = _read_file(path)
        return known[key]
    except OSError:  # it ended, or may not be looked into
        return ()


def _read_file(path: str) -> list[FileCode]:
    """Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return list(_find_libraries(Elf(descriptor)))
    except ElfError:
        return []
    finally:
        os.close(descriptor)


def _find_libraries(elf: Elf) -> Iterable[FileCode]:
    functions = find_functions(elf, _NAMES)
    if functions.keys() & openssl.FUNCTIONS:
        yield Library.OPENSSL, _once(openssl.find_points(elf, functions)), openssl.find_version(elf)
    if functions.keys() & gnutls.FUNCTIONS:
        yield Library.GNUTLS, _once(gnutls.find_points(elf, functions)), gnutls.find_version(elf)
    if has_go(elf):
        go = _once(gotls.find_points(elf))
        if go:
            yield Library.GO, go, find_go_version(elf)
    rust = _once(rustls.find_points(elf))
    if rust:
        yield Library.RUSTLS, rust, rustls.find_version(elf)


def _once(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(dict.fromkeys(points))
