"""Finds the files in which a program's runtimes look for the authorities that they trust."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Files of all trusted certificates, where the distributions have theirs.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.trust.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/cacert.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/usr/share/perl5/Mozilla/CA/cacert.pem",
)
#: Folders with a file a certificate, found by the hash of its name.
FOLDERS = (
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted/pem/directory-hash",
    "/var/lib/ca-certificates/openssl",
    "/system/etc/security/cacerts",
)
#: Folders from which p11-kit takes every file.
ANCHORS = ("/etc/pki/ca-trust/source/anchors", "/etc/pki/trust/anchors")
#: Where builds of OpenSSL have their own (OPENSSLDIR).
_OPENSSL_FOLDERS = ("/usr/lib/ssl", "/usr/lib64/ssl", "/usr/local/ssl", "/etc/ssl", "/etc/pki/tls")
_OPENSSL_FILES, _OPENSSL_HASHED = ("cert.pem", "cacert.pem"), "certs"
_OPENSSL_DIR = re.compile(rb'OPENSSLDIR: "([^"\0]+)"')
_MOST_LIBRARY = 16 << 20  # bytes

#: What Python packages bring.
_PACKAGED = (
    "certifi/cacert.pem",
    "pip/_vendor/certifi/cacert.pem",
    "botocore/cacert.pem",
    "httplib2/cacerts.txt",
    "grpc/_cython/_credentials/roots.pem",
    "stripe/data/ca-certificates.crt",
    "boto/cacerts/cacerts.txt",
)
_SITES = (
    "lib/python3*/site-packages",
    "lib64/python3*/site-packages",
    "lib/python3*/dist-packages",
    "lib/python3/dist-packages",
    "local/lib/python3*/dist-packages",
)
_JAVA_STORES = tuple(
    f"{folder}lib/security/{name}" for folder in ("", "jre/") for name in ("cacerts", "jssecacerts")
)
_JAVA_HOMES = ("/usr/lib/jvm/*", "/opt/java/*", "/opt/jdk*")
_TOKEN = re.compile(r"[^\s\"'=?&;,|:]+")
_LIKE_STORE = re.compile(r"\.(pem|crt|cer|cert|ca|jks|p12|pfx|keystore|truststore)$|cacerts$")


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be started: its words, its environment, where it starts; ``executables`` are
    paths at which one like it was seen to run.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    executables: Sequence[str] = ()

    @property
    def home(self) -> Path | None:
        """Its user's."""
        home = self.environment.get("HOME", "")
        return Path(home) if home.startswith("/") else None

    def find_executables(self) -> Iterator[Path]:
        """The programs that its words name, and those given."""
        path = self.environment.get("PATH", os.defpath)
        for word in (*_split(self.words), "python3", "python", *self.executables):
            found = shutil.which(word, path=path)
            if found is not None:
                yield Path(found)


@dataclass(slots=True)
class Stores:
    """By kind; each but once, whatever names lead to it.

    ``bundles`` are all to be added to; of ``doubtful`` files it depends on what they hold.
    """

    bundles: dict[Path, None] = field(default_factory=dict)
    doubtful: dict[Path, None] = field(default_factory=dict)
    folders: dict[Path, None] = field(default_factory=dict)
    anchors: dict[Path, None] = field(default_factory=dict)

    def add_bundles(self, paths: Iterable[str | Path]) -> None:
        """Those that are files."""
        self.bundles |= {Path(os.path.realpath(one)): None for one in paths if is_file(one)}

    def add_doubtful(self, paths: Iterable[str | Path]) -> None:
        """Those that are files and not known."""
        found = (Path(os.path.realpath(one)) for one in paths if is_file(one))
        self.doubtful |= {path: None for path in found if path not in self.bundles}

    def add_folders(self, paths: Iterable[str | Path]) -> None:
        """Those that are folders."""
        self.folders |= {Path(os.path.realpath(one)): None for one in paths if _is_folder(one)}


def find_stores(program: Program) -> Stores:
    """All that can be known before it runs."""
    stores = Stores()
    stores.add_bundles(BUNDLES)
    stores.add_folders(FOLDERS)
    stores.anchors |= {Path(one): None for one in ANCHORS if _is_folder(one)}
    prefixes = list(_find_prefixes(program))
    sites = list(_find_sites(program, prefixes))
    for site in sites:
        stores.add_bundles(site / name for name in _PACKAGED)
        stores.add_bundles(site.glob("*/cacert*.pem"))
    for folder in _find_openssl_folders(prefixes, sites):
        stores.add_bundles(folder / name for name in _OPENSSL_FILES)
        stores.add_folders([folder / _OPENSSL_HASHED])
    for home in _find_java_homes(program):
        stores.add_doubtful(home / name for name in _JAVA_STORES)
    named = list(_list_named(program))
    stores.add_doubtful(named)
    stores.add_folders(program.environment.get("SSL_CERT_DIR", "").split(":"))
    return stores


def _find_prefixes(program: Program) -> Iterator[Path]:
    """Folders below which there may be Python environments."""
    environment = program.environment
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME"):
        if environment.get(name, "").startswith("/"):
            yield Path(environment[name])
    for executable in program.find_executables():
        for path in (executable, Path(os.path.realpath(executable)), _read_interpreter(executable)):
            if path is not None:
                yield path.parent.parent
    yield from (found.parent for found in _list(f"{glob.escape(str(program.folder))}/*/pyvenv.cfg"))
    yield from (found.parent for found in _list(f"{program.folder}/.*/pyvenv.cfg"))
    home = program.home
    if home is not None:
        yield home / ".local"
        yield from _list(f"{environment.get('PYENV_ROOT') or home / '.pyenv'}/versions/*")
        yield from _list(f"{home}/.cache/pypoetry/virtualenvs/*")
        yield from _list(f"{home}/.local/share/virtualenvs/*")


def _read_interpreter(script: Path) -> Path | None:
    """What runs a script, by its first line."""
    try:
        with script.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    return Path(os.fsdecode(words[0])) if words and words[0].startswith(b"/") else None


def _find_sites(program: Program, prefixes: Iterable[Path]) -> Iterator[Path]:
    for prefix in dict.fromkeys(prefixes):
        for pattern in _SITES:
            yield from _list(f"{glob.escape(str(prefix))}/{pattern}")
    for one in program.environment.get("PYTHONPATH", "").split(":"):
        if one:
            yield program.folder / one


def _find_openssl_folders(prefixes: Iterable[Path], sites: Iterable[Path]) -> Iterator[Path]:
    yield from map(Path, _OPENSSL_FOLDERS)
    yield from (prefix / "ssl" for prefix in dict.fromkeys(prefixes))
    for site in dict.fromkeys(sites):
        for library in site.glob("*.libs/libcrypto*"):
            with library.open("rb") as file:
                found = _OPENSSL_DIR.search(file.read(_MOST_LIBRARY))
            if found is not None:
                yield Path(os.fsdecode(found[1]))


def _find_java_homes(program: Program) -> Iterator[Path]:
    environment = program.environment
    if environment.get("JAVA_HOME", "").startswith("/"):
        yield Path(environment["JAVA_HOME"])
    java = shutil.which("java", path=environment.get("PATH", os.defpath))
    for executable in (java, *program.executables):
        if executable is not None:
            yield Path(os.path.realpath(executable)).parent.parent
    for pattern in (*_JAVA_HOMES, f"{program.home}/.sdkman/candidates/java/*"):
        yield from _list(pattern)


def _list_named(program: Program) -> Iterator[Path]:
    """Files that the command line and the environment name, in whatever variable or address."""
    texts = (*program.words, *program.environment.values())
    for token in _split(texts):
        if token.startswith(("/", ".", "~")) or _LIKE_STORE.search(token):
            yield _resolve(token, program)
    if program.home is not None:
        yield program.home / ".postgresql/root.crt"


def _resolve(token: str, program: Program) -> Path:
    if token.startswith("~/") and program.home is not None:
        return program.home / token[2:]
    return program.folder / token


def _split(texts: Iterable[str]) -> list[str]:
    return [token for text in texts for token in _TOKEN.findall(text)]


def _list(pattern: str) -> list[Path]:
    return sorted(Path("/").glob(pattern.lstrip("/")))


def is_file(path: str | Path) -> bool:
    try:
        return bool(str(path)) and Path(path).is_file()
    except (OSError, ValueError):  # no name that can be one
        return False


def _is_folder(path: str | Path) -> bool:
    try:
        return bool(str(path)) and Path(path).is_dir()
    except (OSError, ValueError):
        return False
