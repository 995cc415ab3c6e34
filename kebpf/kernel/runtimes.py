"""By what a process speaks TLS, from its executable and from what it has loaded; proc(5)."""

from __future__ import annotations

import enum
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path

MOST_SCANNED = 256 << 20  # bytes of an executable
_GO = b"\xff Go buildinf:"
_RUSTLS = b"rustls"
_LIBRARIES = re.compile(r"/lib(ssl|gnutls|nss3|jvm)[^/]*\.so[^/]*$")


class Runtime(enum.Enum):
    """Those that look for authorities in places of their own."""

    JAVA = "Java"
    NODE = "Node"
    DENO = "Deno"
    GO = "Go"
    PYTHON = "Python"
    GNUTLS = "GnuTLS"
    NSS = "NSS"
    OPENSSL = "OpenSSL"
    RUSTLS = "rustls"
    UNKNOWN = "a library that is not known"


@dataclass(frozen=True, slots=True)
class TlsUser:
    """``name`` is the process's, ``library`` the path of what it encrypts with, if that is one."""

    pid: int
    name: str
    runtime: Runtime
    library: str = ""

    def __str__(self) -> str:
        by = self.library or self.runtime.value
        return f"{self.name} (pid {self.pid}, {by})"


def identify(pid: int) -> TlsUser | None:
    """``None`` for a process that is gone or may not be looked into."""
    folder = Path("/proc") / str(pid)
    try:
        executable = os.readlink(folder / "exe")  # noqa: PTH115 - may name what is gone
        lines = (folder / "maps").read_text(errors="replace").splitlines()
    except OSError:
        return None
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) > 5}
    found = {match[1]: path for path in sorted(paths) if (match := _LIBRARIES.search(path))}
    name = Path(executable.removesuffix(" (deleted)")).name
    runtime, library = _choose(name, found, folder / "exe")
    return TlsUser(pid, name, runtime, library)


def _choose(name: str, found: dict[str, str], executable: Path) -> tuple[Runtime, str]:
    if "jvm" in found:
        return Runtime.JAVA, found["jvm"]
    if name.startswith(("node", "bun")):
        return Runtime.NODE, ""
    if name.startswith("deno"):
        return Runtime.DENO, ""
    if name.startswith(("python", "uwsgi", "gunicorn")):
        return Runtime.PYTHON, found.get("ssl", "")
    for library, runtime in (
        ("gnutls", Runtime.GNUTLS), ("ssl", Runtime.OPENSSL), ("nss3", Runtime.NSS)
    ):  # fmt: skip
        if library in found:
            return runtime, found[library]
    return _scan(executable), ""


def _scan(executable: Path) -> Runtime:
    """What only the content tells of a program that has its library within."""
    try:
        with executable.open("rb") as file:
            size = min(os.fstat(file.fileno()).st_size, MOST_SCANNED)
            with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as data:
                if data.find(_GO) >= 0:
                    return Runtime.GO
                return Runtime.RUSTLS if data.find(_RUSTLS) >= 0 else Runtime.UNKNOWN
    except (OSError, ValueError):
        return Runtime.UNKNOWN
