"""Which version of a program runs: by its content and its interpreter's script, not by its name."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kebpf.agent.programs import Program
from kebpf.kernel.processes import PROC

_LENGTH = 12  # hexadecimal digits of a version
_WHOLE_SIZE = 64 << 20  # bytes of a file that are all read; of a larger one both ends
_END_SIZE = 4 << 20
_MOST_FILES = 2000  # of one program's sources
_MOST_TREE_SIZE = 64 << 20
_MOST_KNOWN = 16384
_SOURCES = (
    *(".py", ".pyx", ".so", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".rb", ".pl", ".pm"),
    *(".php", ".jar", ".war", ".class"),
)
_SKIPPED = frozenset(
    (
        *("__pycache__", "node_modules", "venv", ".venv", "site-packages", "vendor", "logs", "log"),
        *("tmp", "cache", "data", "uploads", "static", "media", "test", "tests"),
    )
)
_PROGRAM_FOLDERS = frozenset(("bin", "sbin", "libexec", "games"))
_ROOTS = frozenset(("/", "/root", "/home", "/tmp", "/var", "/usr", "/etc", "/opt", "/srv"))
_ENTRY = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*(?:\(\))?)?")  # shop.app:make_app


@dataclass(frozen=True, slots=True)
class Version:
    """``digest`` tells versions apart; ``command`` is for people."""

    digest: str
    command: str


class VersionReader:
    """Reads what a process runs; a file is read again only when it was changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], bytes] = {}

    def read(self, program: Program) -> Version:
        """What cannot be read counts by its name alone."""
        root = PROC / str(program.pid) / "root"
        whole = hashlib.sha256()
        for word in (program.executable, *program.words):
            whole.update(os.fsencode(word) + b"\0")
        whole.update(self._digest(PROC / str(program.pid) / "exe"))
        for path in self._find_sources(program, root):
            whole.update(os.fsencode(path.name) + b"\0" + self._digest(path))
        return Version(whole.hexdigest()[:_LENGTH], " ".join(program.words) or program.executable)

    def _find_sources(self, program: Program, root: Path) -> Iterator[Path]:
        """The script or package of an interpreter, with what lies beside it."""
        if not program.is_interpreter:
            return
        folder = program.folder
        found: dict[Path, None] = {}
        for word in program.words[1:]:
            path = _find_word(word, folder, root)
            if path is not None:
                found[path] = None
        for path in found:
            yield from _list_sources(path)

    def _digest(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    return b"-"
                key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                if key not in self._known:
                    while len(self._known) >= _MOST_KNOWN:
                        del self._known[next(iter(self._known))]
                    self._known[key] = _hash(file.fileno(), status)
                return self._known[key]
        except OSError:
            return b"-"


def _hash(descriptor: int, status: os.stat_result) -> bytes:
    """Of all of a file, of a very large one both ends and when it was written."""
    whole = hashlib.sha256()
    size = status.st_size
    parts = [(0, size)]
    if size > _WHOLE_SIZE:
        parts = [(0, _END_SIZE), (size - _END_SIZE, _END_SIZE)]
        whole.update(b"%d %d" % (size, status.st_mtime_ns))
    for at, length in parts:
        end = at + length
        while at < end and (data := os.pread(descriptor, min(1 << 20, end - at), at)):
            whole.update(data)
            at += len(data)
    return whole.digest()


def _find_word(word: str, folder: str, root: Path) -> Path | None:
    """A script's file, or the folder of its sources; of a module the package in ``folder``."""
    if word.startswith("-") or not folder.startswith("/"):
        return None
    path = Path(os.path.normpath(Path(folder, word)))
    inside = root / path.relative_to("/")
    if inside.is_file():
        parent = path.parent
        has_own = parent.name not in _PROGRAM_FOLDERS and str(parent) not in _ROOTS
        return inside.parent if has_own and inside.suffix in _SOURCES else inside
    if _ENTRY.fullmatch(word):
        base = root / folder.lstrip("/") / word.partition(":")[0].partition(".")[0]
        file = base.with_name(f"{base.name}.py")
        if base.is_dir() and folder not in _ROOTS:
            return base
        return file.parent if file.is_file() and folder not in _ROOTS else None
    return None


def _list_sources(path: Path) -> Iterator[Path]:
    """The file, or the sources in a folder and below, in one order and not without end."""
    if path.is_file():
        yield path
        return
    number = size = 0
    for folder, names, files in os.walk(path):
        names[:] = sorted(one for one in names if one not in _SKIPPED and not one.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or not name.endswith(_SOURCES):
                continue
            one = Path(folder, name)
            number, size = number + 1, size + _find_size(one)
            if number > _MOST_FILES or size > _MOST_TREE_SIZE:
                return
            yield one


def _find_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
