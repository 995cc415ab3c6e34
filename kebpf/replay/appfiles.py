"""Looks through an application's folder for files of authorities, and for what names such files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType

MOST_ENTRIES = 20_000  # looked at
MOST_TEXT = 256 << 10  # bytes of a source file; larger ones are data
MOST_READ = 16 << 20  # bytes of all of them
MOST_BINARY = 128 << 20
_SKIPPED = frozenset((".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".mypy_cache"))
_STORE = re.compile(
    r"\.(pem|crt|cer|cert|ca|ca-bundle|jks|p12|pfx|keystore|truststore)$|^(cacerts|root\.crt)$",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"\.(py|js|mjs|cjs|ts|go|java|kt|scala|groovy|rb|php|rs|cs|ex|exs|sh|env|ini|cfg|conf|config"
    r"|toml|ya?ml|json|xml|properties|service)$|^(Dockerfile|Procfile|\.env.*)$",
    re.IGNORECASE,
)
_NAMED = re.compile(rb"[\w@%+~./${}-]+\.(?:pem|crt|cer|cert|jks|p12|pfx|truststore|keystore)\b")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_LIKE_OURS = re.compile(rb"(?<![\w@%+.~-])/[\w@%+./-]+\.(?:pem|crt|cer|cert)\b")


def find_app_stores(
    folder: Path, home: Path | None = None, environment: Mapping[str, str] = _NOTHING
) -> Iterator[Path]:
    """The files below a folder that may be stores, and those that its texts name.

    A name may begin with a variable of the ``environment`` (``$DATA/ca.pem``).
    """
    read = 0
    for path in _walk(folder):
        if _STORE.search(path.name):
            yield path
        elif _SOURCE.search(path.name) and read < MOST_READ:
            text = _read(path, MOST_TEXT)
            read += len(text)
            for name in _find_names(text, environment):
                yield from _resolve(name, path.parent, folder, home)


def list_texts(folder: Path) -> Iterator[str]:
    """The sources and settings below a folder, as text."""
    read = 0
    for path in _walk(folder):
        if _SOURCE.search(path.name) and read < MOST_READ:
            text = _read(path, MOST_TEXT)
            read += len(text)
            yield text.decode(errors="replace")


def _walk(folder: Path) -> Iterator[Path]:
    entries = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _is_looked_into(place, name)]
        entries += len(folders) + len(names)
        if entries > MOST_ENTRIES:
            return
        yield from (Path(place, name) for name in names)


def find_stores_of_binary(path: Path) -> Iterator[Path]:
    """The files that a compiled program names by their whole paths."""
    data = _read(path, MOST_BINARY)
    if data.startswith(b"\x7fELF"):
        for found in dict.fromkeys(_LIKE_OURS.findall(data)):
            yield Path(os.fsdecode(found))


def _is_looked_into(place: str, name: str) -> bool:
    if name in _SKIPPED:
        return False
    try:
        return not Path(place, name, "pyvenv.cfg").exists()
    except OSError:  # it is somebody else's
        return False


def _read(path: Path, most: int) -> bytes:
    try:
        if not path.is_file() or path.stat().st_size > most:
            return b""
        return path.read_bytes()
    except OSError:
        return b""


def _find_names(text: bytes, environment: Mapping[str, str]) -> Iterator[str]:
    for found in dict.fromkeys(_NAMED.findall(text)):
        yield Template(os.fsdecode(found)).safe_substitute(environment)


def _resolve(name: str, beside: Path, folder: Path, home: Path | None) -> Iterator[Path]:
    """Relative names are tried from where the program starts and from beside who names them."""
    if not name.startswith("~/"):
        yield folder / name
        yield beside / name
    elif home is not None:
        yield home / name[2:]
