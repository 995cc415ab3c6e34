"""Follows the TLS libraries of targets: has probes put where they read and write plaintext.

A probe at a return is a uretprobe where that can do no harm.  From Linux 6.11 on its way back is
a system call, which a filter made before (seccomp) may answer with the process's death; and a
runtime that moves its stacks must never have one.  There the RET instructions are probed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kebpf.capture.events import Kind, make_record
from kebpf.capture.head import HEAD
from kebpf.capture.memory import PROC, Mapping, path_of, read_mappings
from kebpf.capture.points import Place, Point
from kebpf.capture.probes import TlsMode
from kebpf.capture.tlscode import Known, TlsCode, find_tls_code, look_into
from kebpf.capture.tlsevents import TLS_CODE_TAIL, Library

MOST_PROCESSES = 256  # each takes some ten descriptors
_STARTING = 3.0  # seconds: in which a program loads its libraries
_SHORTEST_PAUSE, _STARTING_PAUSE, _LONGEST_PAUSE = 0.001, 0.02, 0.25
_SLACK = 0.25  # of a pause: processes that are due soon are looked at together
_YOUNG, _YOUNG_PAUSE = 0.08, 0.004  # a program such as curl is over by then
_URGENCY = -10  # nice

#: What programs call once, before they encrypt.
HERALDS = ("SSL_CTX_new", "gnutls_init")
_MACHINE = platform.machine()
_FOLDERS = [
    Path(name)
    for name in (
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        f"/usr/lib/{platform.machine()}-linux-gnu",
    )
]
_LIBRARIES = ("libssl.so*", "libcrypto.so*", "libgnutls.so*")
_READ, _READ_COUNTED = "on_tls_read", "on_tls_read_counted"
_WRITE, _WRITE_COUNTED = "on_tls_write", "on_tls_write_counted"
_RETURN = "on_tls_return"
#: Function → the programs for its entry and its return.
_PROGRAMS: dict[str, tuple[str, str]] = {
    "ssl_read": (_READ_COUNTED, _RETURN),
    "ssl_write": (_WRITE_COUNTED, _RETURN),
    "SSL_read_ex": (_READ_COUNTED, _RETURN),
    "SSL_write_ex": (_WRITE_COUNTED, _RETURN),
    "SSL_read": (_READ, _RETURN),
    "SSL_write": (_WRITE, _RETURN),
    "SSL_free": ("on_tls_free", ""),
    "SSL_set_bio": ("on_tls_set_bio", ""),
    "BIO_read": ("on_bio_read", "on_bio_read_return"),
    "BIO_write": ("on_bio_write", ""),
    "bio_read": ("on_bio_read_counted", "on_bio_read_return"),
    "bio_write": ("on_bio_write", ""),
    "BIO_read_ex": ("on_bio_read_counted", "on_bio_read_return"),
    "BIO_write_ex": ("on_bio_write", ""),
    HERALDS[0]: ("on_tls_begun", ""),
    HERALDS[1]: ("on_tls_begun", ""),
    "gnutls_record_recv": (_READ, _RETURN),
    "gnutls_record_recv_seq": (_READ, _RETURN),
    "gnutls_record_send": (_WRITE, _RETURN),
    "gnutls_record_send2": (_WRITE, _RETURN),
    "gnutls_deinit": ("on_tls_free", ""),
    "go_read": ("on_go_read", "on_go_return"),
    "go_write": ("on_go_write", "on_go_return"),
    "rustls_read": ("on_rustls_read", ""),
    "rustls_write": ("on_rustls_write", "on_rustls_write_return"),
}
_MOST_CLOSERS = 16
#: Functions that are of use for sessions on memory BIOs only.
BIO_FUNCTIONS = frozenset(
    ("BIO_read", "BIO_read_ex", "bio_read", "BIO_write", "BIO_write_ex", "bio_write")
)
# those whose stacks move, or which walk them when they panic: no return address may be replaced
_MODES = {"GO": TlsMode.BY_GOROUTINE, "RUSTLS": TlsMode.BY_THREAD | TlsMode.BY_LAST}
#: By argument, the registers in which the programs look for it.
_C_REGISTERS = (("di",), ("si",), ("dx",), ("cx", "r8"))
_GO_REGISTERS = (("ax",), ("bx",), ("cx",))


class TlsProbes(Protocol):
    """What is told: `kebpf.capture.probes.Probes`."""

    def watched(self) -> list[int]: ...

    def attach_tls(
        self, program: str, pid: int, path: str, offsets: Sequence[int], is_return: bool = False
    ) -> list[int]: ...

    def tell_tls(self, pid: int, mode: TlsMode) -> None: ...

    def has_tls(self, pid: int) -> bool: ...

    def has_memory_sessions(self, pid: int) -> bool | None: ...

    def await_news(self, seconds: float) -> list[int]: ...

    def wake(self) -> None: ...


FindCode = Callable[[int, Sequence[Mapping], Known], list[TlsCode]]


@dataclass(slots=True)
class _Followed:
    """What is known of one process; ``links`` hold its probes, ``bio_links`` those of its BIOs."""

    since: float
    next_look: float = 0.0
    pause: float = _SHORTEST_PAUSE
    mappings: list[Mapping] = field(default_factory=list)
    known: set[tuple[str, str, int]] = field(default_factory=set)  # library, device, inode
    links: list[int] = field(default_factory=list)
    bio_links: list[int] = field(default_factory=list)
    bios: list[tuple[TlsCode, str]] = field(default_factory=list)  # where they go: code, file
    has_bios: bool = True  # whether they are to be there
    mode: TlsMode = field(default_factory=lambda: TlsMode(0))


class TlsWatch:
    """Looks at each process when it becomes a target, and again as its mappings change.

    ``note`` is given the records that say since when a process's calls are seen.  What fails
    leaves the process's encrypted connections unread, and is tried again.  `start` has a thread
    of its own do that, as soon as there is news.
    """

    def __init__(
        self,
        probes: TlsProbes,
        note: Callable[[bytes], None],
        find: FindCode = find_tls_code,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = probes
        self._note = note
        self._find = find
        self._clock = clock
        self._followed: dict[int, _Followed] = {}
        self._known_files: Known = {}
        self._heralds: dict[tuple[int, int], list[int]] = {}  # by file
        self._used: dict[tuple[int, int], list[TlsCode]] = {}  # by executable, where it was before
        # Side by side: the kernel waits with each until no processor is in it any more (0.1 s).
        self._closers = ThreadPoolExecutor(_MOST_CLOSERS, thread_name_prefix="kebpf-tls-end")
        self._is_stopping = threading.Event()
        self._has_started = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="kebpf-tls", daemon=True)

    def start(self) -> None:
        """Until `close`."""
        self._thread.start()

    def await_start(self) -> None:
        """Waits until also those children are read that are brief."""
        self._has_started.wait()

    def prepare(self, pids: Iterable[int]) -> None:
        """Looks at processes that are about to be watched, so that nothing is seen half."""
        self._look(list(pids))

    def look(self) -> None:
        """To be called often: it looks at those processes whose time has come."""
        self._look(self._probes.watched())

    def _look(self, watched: list[int]) -> None:
        now = self._clock()
        for pid in self._followed.keys() - set(watched):
            self._let_go(self._followed.pop(pid))
        for pid in watched:
            one = self._followed.get(pid)
            if one is None:
                if len(self._followed) >= MOST_PROCESSES:
                    continue
                one = self._followed[pid] = _Followed(since=now)
            if now >= one.next_look - one.pause * _SLACK:
                one.pause = min(2 * one.pause, _find_longest(now - one.since))
                one.next_look = now + one.pause
                with contextlib.suppress(OSError):  # it ends, or may not be looked into
                    self._look_at(pid, one)

    def close(self) -> None:
        """Takes all probes away."""
        self._is_stopping.set()
        self._probes.wake()
        if self._thread.is_alive():
            self._thread.join()
        for one in self._followed.values():
            self._let_go(one)
        for link in (link for kept in self._heralds.values() for link in kept):
            self._closers.submit(os.close, link)
        self._closers.shutdown()
        self._followed.clear()
        self._heralds.clear()

    def _follow(self) -> None:
        with contextlib.suppress(OSError):  # without the privileges it is as any other
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _URGENCY)
        self._herald_usual()
        self._has_started.set()
        while not self._is_stopping.is_set():
            self.look()
            now = self._clock()
            due = min((one.next_look for one in self._followed.values()), default=now + 1)
            rest = min(max(due - now, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            for pid in self._probes.await_news(rest):
                one = self._followed.get(pid)
                if one is not None:
                    one.next_look, one.pause = 0.0, _SHORTEST_PAUSE
                    one.since = self._clock()

    def _look_at(self, pid: int, one: _Followed) -> None:
        if one.mode and not self._probes.has_tls(pid):  # another program runs there
            self._let_go(one)
            one.since, one.pause = self._clock(), _SHORTEST_PAUSE
        mappings = [mapping for mapping in read_mappings(pid) if "x" in mapping.flags]
        self._foresee(pid, one)
        if mappings != one.mappings:
            one.mappings = mappings
            for code in self._find(pid, mappings, self._known_files):
                if _identify(code) not in one.known:
                    self._attach(pid, one, code, path_of(pid, code.mapping))
                    self._remember(pid, code)
        self._choose_bios(pid, one)

    def _remember(self, pid: int, code: TlsCode) -> None:
        """What runs the same program will use the same library."""
        used = self._used.setdefault(_find_executable(pid), [])
        is_new = _identify(code) not in map(_identify, used)
        if is_new and len(self._used) < MOST_PROCESSES:
            used.append(code)

    def _foresee(self, pid: int, one: _Followed) -> None:
        """Has the probes there before the library is: a brief program is over soon after that."""
        if one.known or not self._used:
            return
        for code in self._used.get(_find_executable(pid), ()):
            path = f"{PROC}/{pid}/root{code.mapping.path}"
            if _identify(code) not in one.known and _is_file(path, code.mapping):
                self._attach(pid, one, code, path)

    def _let_go(self, one: _Followed) -> None:
        """Its program is another one now, or it is gone; nobody waits for the kernel meanwhile."""
        for link in (*one.links, *one.bio_links):
            self._closers.submit(os.close, link)
        for kept in (one.links, one.bio_links, one.bios, one.mappings, one.known):
            kept.clear()
        one.has_bios, one.mode = True, TlsMode(0)

    def _attach(self, pid: int, one: _Followed, code: TlsCode, path: str) -> None:
        one.known.add(_identify(code))
        mode = _MODES.get(code.library.name, TlsMode.BY_THREAD)
        if one.mode & mode != mode:
            one.mode |= mode
            self._probes.tell_tls(pid, one.mode)
        functions = {point.function for point in code.points}.difference(HERALDS)
        self._herald(path, code.points)
        if functions & BIO_FUNCTIONS:
            one.bios.append((code, path))
            one.bio_links += self._place(pid, code, path, BIO_FUNCTIONS)[0] if one.has_bios else []
        if functions - BIO_FUNCTIONS:
            links, is_read = self._place(pid, code, path, functions - BIO_FUNCTIONS)
            one.links += links
            self._note(make_note(pid, Library[code.library.name], is_read, _name(code)))

    def _herald_usual(self) -> None:
        """The host's own libraries, which a target's child may use though the target does not."""
        for folder in _FOLDERS:
            for name in _LIBRARIES:
                for path in sorted(folder.glob(name)):
                    for _, points, _ in look_into(os.fspath(path), self._known_files):
                        self._herald(os.fspath(path), points)

    def _herald(self, path: str, points: Sequence[Point]) -> None:
        """Whatever process begins to use the library tells of it: a target's child may be brief."""
        places = [point for point in points if point.function in HERALDS]
        if not places or len(self._heralds) >= MOST_PROCESSES:
            return
        with contextlib.suppress(OSError):
            status = Path(path).stat()
            key = (status.st_dev, status.st_ino)
            if key not in self._heralds:
                placer = _Placer(self._probes, 0, path, by_instruction=False)
                placer.place(places)
                self._heralds[key] = placer.links

    def _place(
        self, pid: int, code: TlsCode, path: str, functions: Collection[str]
    ) -> tuple[list[int], bool]:
        """The links, and whether all is there that is needed for reading."""
        by_instruction = code.library.name in _MODES or has_filter(pid)
        placer = _Placer(self._probes, pid, path, by_instruction)
        is_read = placer.place([one for one in code.points if one.function in functions])
        return placer.links, is_read

    def _choose_bios(self, pid: int, one: _Followed) -> None:
        """Records need marks only where sessions are on memory BIOs: a probe in each call less."""
        is_wanted = self._probes.has_memory_sessions(pid) if one.bios else None
        if is_wanted is None or is_wanted == one.has_bios:
            return
        one.has_bios = is_wanted
        for link in one.bio_links:
            self._closers.submit(os.close, link)
        one.bio_links = []
        for code, path in one.bios if is_wanted else ():
            one.bio_links += self._place(pid, code, path, BIO_FUNCTIONS)[0]


class _Placer:
    """Puts the probes of one library into one process."""

    def __init__(self, probes: TlsProbes, pid: int, path: str, by_instruction: bool) -> None:
        self._probes = probes
        self._pid = pid
        self._path = path
        self._by_instruction = by_instruction
        self.links: list[int] = []

    def place(self, points: Sequence[Point]) -> bool:
        """Returns first, so that no call is seen to begin and not to end; whether all are there."""
        is_complete = True
        for function in dict.fromkeys(point.function for point in points):
            programs = _PROGRAMS.get(function)
            if programs is None:
                continue
            try:
                self._place_function([one for one in points if one.function == function], programs)
            except OSError:
                is_complete = False
        return is_complete

    def _place_function(self, points: list[Point], programs: tuple[str, str]) -> None:
        """Raises ``OSError``."""
        entries = [point for point in points if point.place is Place.ENTRY]
        returns = [point.offset for point in points if point.place is Place.RETURN]
        if any(not _is_usual(point) for point in entries):
            raise OSError(f"the arguments of {points[0].function} are not where they are usually")
        at_entry, at_return = programs
        may_replace = not self._by_instruction and all(point.is_start for point in entries)
        places = [point.offset for point in entries]
        if at_return and may_replace:
            self._put(at_return, places, is_return=True)
        elif at_return:
            if not returns:
                raise OSError(f"the instructions that end {points[0].function} are not known")
            self._put(at_return, returns)
        self._put(at_entry, places)

    def _put(self, program: str, offsets: Sequence[int], is_return: bool = False) -> None:
        self.links += self._probes.attach_tls(program, self._pid, self._path, offsets, is_return)


def _find_longest(age: float) -> float:
    """How long a program of that age may be left alone, in seconds."""
    if age < _YOUNG:
        return _YOUNG_PAUSE
    return _STARTING_PAUSE if age < _STARTING else _LONGEST_PAUSE


def _is_usual(point: Point) -> bool:
    """Whether the arguments are where the programs look for them (bpf/arch.h)."""
    usual = _GO_REGISTERS if point.function.startswith("go_") else _C_REGISTERS
    return all(own in wanted for own, wanted in zip(point.registers, usual, strict=False))


def has_filter(pid: int) -> bool:
    """Whether a process may be ended for a system call that it did not know of.

    On kernels whose uretprobe takes none, none is.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if release < (6, 11):
        return False
    status = (PROC / str(pid) / "status").read_text()
    found = re.search(r"^Seccomp:\s+(\d)", status, re.MULTILINE)
    return found is not None and found.group(1) != "0"


def make_note(pid: int, library: Library, is_read: bool, name: str) -> bytes:
    """The record of KEBPF_TLS_CODE: from now on."""
    head = HEAD.pack(time.monotonic_ns(), 0, 0, pid, pid, Kind.TLS_CODE, 0, 0, 0, 0)
    text = name.encode()[:47]
    return make_record(head + TLS_CODE_TAIL.pack(library, is_read, text))


def _identify(code: TlsCode) -> tuple[str, str, int]:
    return (code.library.name, *code.mapping.file)


def _find_executable(pid: int) -> tuple[int, int]:
    """Raises ``OSError``."""
    status = (PROC / str(pid) / "exe").stat()
    return status.st_dev, status.st_ino


def _is_file(path: str, mapping: Mapping) -> bool:
    """Whether a path leads to the file that was mapped."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    return (device, status.st_ino) == mapping.file


def _name(code: TlsCode) -> str:
    return code.version or Path(code.mapping.path).name
