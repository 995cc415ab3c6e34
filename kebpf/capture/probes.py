"""The recording probes: loads them, attaches them, says whom they watch."""

from __future__ import annotations

import contextlib
import enum
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kebpf.capture.events import Transport
from kebpf.capture.filters import FILTER_NAMES, NO_FILTERS, Filters
from kebpf.kernel.bpf import (
    KPROBE,
    RAW_TRACEPOINT,
    UPROBE_MULTI,
    CounterMap,
    Map,
    attach_raw_tracepoint,
    run_raw_tracepoint,
)
from kebpf.kernel.btf import Btf
from kebpf.kernel.compiled import Compiled
from kebpf.kernel.errors import KernelError
from kebpf.kernel.hierarchies import GROUP_KEY, GROUP_PATH_KEY, Group
from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.offsets import group_offset_flags, offset_flags
from kebpf.kernel.programs import Loaded, Program, load_kept, load_programs, make_key
from kebpf.kernel.ring import RingBuffer
from kebpf.kernel.uprobe import attach_uprobe, attach_uprobes, has_links

PAGE = os.sysconf("SC_PAGESIZE")
CHUNK = 16 << 10  # KEBPF_CHUNK of bpf/events.h
MOST_BUFFERS = 1024  # of one call (UIO_MAXIOV)
DEFAULT_RING_SIZE = 4 << 20  # bytes
DEFAULT_CALL_LIMIT = 8 << 20  # bytes of one call that are copied
DEFAULT_CONNECTIONS = 65_536  # followed at one time; the bytes of others are counted
DEFAULT_PLACES = 4096  # threads in the middle of a sendmmsg or recvmmsg at one time

_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_CONNECTION = struct.Struct("=QQQQQQQQIIIIIIII")  # struct connection of bpf/maps.h
_INODE, _TRANSPORT, _LEFT_OUT = 1, 10, 14  # their places there
_EMISSION_SIZE = 64  # struct emission
_TRIED, _WRITTEN = 0, 2  # in it: how many records, and bytes of those that are whole
_COUNTS = (
    *("lost_events", "lost_bytes", "retries", "unfollowed_bytes", "vector_reads"),
    *("untold_lives", "lost_places"),
    *FILTER_NAMES,
)
_TASK_PLACE = struct.Struct("=QQQ")  # struct task_place of bpf/tasks.h
_TLS_KINDS = struct.Struct("=QQ")  # struct tls_kinds there
_TARGET_SLOTS, _ASK = 4096, b"\xff" * 8  # of bpf/target.h
# `continuations` is not used from here, but loses its program when no descriptor holds it
_MAPS = (
    "events", "targets", "target_slots", "is_over", "connections", "counts", "emitted",
    "continuations",
)  # fmt: skip

_COMMON = {
    "inet_sock_set_state": "on_inet_sock_set_state",
    "tcp_destroy_sock": "on_tcp_destroy_sock",
    "sched_process_fork": "on_sched_process_fork",
    "sched_process_exec": "on_sched_process_exec",
    "sched_process_exit": "on_sched_process_exit",
}
_GROUPS = {
    "cgroup_attach_task": "on_cgroup_attach_task",
    "cgroup_mkdir": "on_cgroup_mkdir",
    "cgroup_rmdir": "on_cgroup_rmdir",
}


class Door(enum.Enum):
    """Where the probes sit: at each socket message, or at each system call's end."""

    A = "a"
    B = "b"


_ENTRIES = {
    Door.A: {
        "sock_send_length": "on_sock_send_length",
        "sock_recv_length": "on_sock_recv_length",
    },
    Door.B: {"sys_exit": "on_sys_exit"},
}
_ENDING = "end_life"  # run from here, attached nowhere
_TASK_MADE = "on_task_made"  # attached when a process is found that makes them
#: Attached to a target's TLS libraries as they are found; bpf/tls_probes.h.
TLS_PROGRAMS = (
    *("on_tls_read", "on_tls_read_counted", "on_tls_write", "on_tls_write_counted"),
    *("on_tls_return", "on_tls_free", "on_tls_set_bio", "on_tls_begun"),
    *("on_bio_write", "on_bio_read", "on_bio_read_counted", "on_bio_read_return"),
    *("on_go_read", "on_go_write", "on_go_return"),
    *("on_rustls_read", "on_rustls_write", "on_rustls_write_return"),
)
_TLS_MAPS = [
    *("tls_modes", "has_tls", "tls_sessions", "tls_kinds", "tls_news"),
    "tls_continuations",  # as continuations
]
_TLS_CONTINUATIONS = ("copy_plain",)
_TLS_ROUNDS = 16  # chunks that one program copies before it calls itself for the rest
_KEPT = (_ENDING, _TASK_MADE, *TLS_PROGRAMS)
_CONTINUATIONS: tuple[str, ...] = ("copy_transfer", "capture_long")


@dataclass(frozen=True, slots=True)
class Moved:
    """What the kernel says an open connection moved and lost, by direction, in bytes."""

    socket: int
    generation: int
    moved: tuple[int, int]
    lost: tuple[int, int]


class TlsMode(enum.IntFlag):
    """How the calls of a TLS library that are under way are told apart (bpf/tls.h)."""

    BY_THREAD = 1
    BY_GOROUTINE = 2
    BY_LAST = 4


@dataclass(frozen=True, slots=True)
class UntoldLife:
    """An entry of a socket whose end no tracepoint tells: Unix and UDP."""

    socket: int
    generation: int
    inode: int


def choose_door(btf: Btf) -> Door:
    """Door A where the kernel has its tracepoints (6.3 and newer), else door B."""
    return Door.A if btf.has_name("btf_trace_sock_send_length") else Door.B


class Probes:
    """Loaded and attached probes; descriptors hold them, so they end with this process.

    `watch` after ``attach``: a target is seen by all probes from the same moment on.
    A ``cache`` spares the compiler from the second time on.  Without ``filters`` and
    ``with_groups`` (whether `watch_groups` will be called) the programs hold nothing of either;
    nor of asyncio's tasks without ``with_tasks``, which `watch_tasks` needs, nor of TLS libraries
    without ``with_tls`` (`attach_tls`).
    """

    def __init__(
        self,
        door: Door | None = None,
        ring_size: int = DEFAULT_RING_SIZE,
        call_limit: int = DEFAULT_CALL_LIMIT,
        connections: int = DEFAULT_CONNECTIONS,
        filters: Filters = NO_FILTERS,
        with_groups: bool = False,
        places: int = DEFAULT_PLACES,
        cache: ProgramCache | None = None,
        with_tasks: bool = False,
        with_tls: bool = False,
    ) -> None:
        btf, processors = Btf.load(), _count_processors()
        self.door = door or choose_door(btf)
        self.with_tasks = with_tasks
        self.with_tls = with_tls
        self._has_links = has_links()
        self._tracepoints = {**_ENTRIES[self.door], **_COMMON, **(_GROUPS if with_groups else {})}
        settings = [
            f"-DKEBPF_RING_PAGES={ring_size // PAGE}",
            f"-DKEBPF_CALL_LIMIT={call_limit}",
            f"-DKEBPF_ROUNDS={_count_rounds(call_limit)}",
            f"-DKEBPF_CONNECTIONS={connections}",
            f"-DKEBPF_PLACES={places}",
            f"-DKEBPF_PROCESSORS={processors}",
            *filters.flags(),
            *(["-DKEBPF_GROUPS"] if with_groups else []),
            *(["-DKEBPF_TASKS"] if with_tasks else []),
            *(["-DKEBPF_TLS", f"-DKEBPF_TLS_ROUNDS={_TLS_ROUNDS}"] if with_tls else []),
        ]
        names = list(_MAPS)
        names += ["ports", "listening"] if filters.has_any else []
        names += ["groups", "group_paths", "recorder"] if with_groups else []
        names += ["task_places", "has_task_places"] if with_tasks else []
        names += _TLS_MAPS if with_tls else []
        self._loaded = self._load(btf, settings, names, cache)
        maps = self._loaded.maps
        self._targets = Map(maps["targets"], 4, 4)
        self._slots = Map(maps["target_slots"], 4, 8)
        self._is_over = Map(maps["is_over"], 4, 4)
        self._connections = Map(maps["connections"], 8, _CONNECTION.size)
        self._counts = Map(maps["counts"], 4, 8)
        self._emitted = CounterMap(maps["emitted"], processors, _EMISSION_SIZE)
        self._listening = Map(maps["listening"], 4, 4) if filters.has_any else None
        if with_groups:
            self._groups = Map(maps["groups"], GROUP_KEY.size, 4)
            self._group_paths = Map(maps["group_paths"], GROUP_PATH_KEY.size, 4)
            Map(maps["recorder"], 4, 4)[_U32.pack(0)] = _U32.pack(os.getpid())
        if with_tasks:
            self._task_places = Map(maps["task_places"], 4, _TASK_PLACE.size)
            Map(maps["has_task_places"], 4, 4)[_U32.pack(0)] = _U32.pack(1)
        if with_tls:
            self._tls_modes = Map(maps["tls_modes"], 4, 4)
            self._has_tls = Map(maps["has_tls"], 4, 4)
            self._tls_kinds = Map(maps["tls_kinds"], 4, _TLS_KINDS.size)
            self._news = RingBuffer(maps["tls_news"], PAGE)
        if filters.has_any:
            filters.write(Map(maps["ports"], 4, 4))
        self.ring = RingBuffer(maps["events"], ring_size, self._emitted.counters(_WRITTEN))
        self._links: list[int] = []

    def _load(
        self, btf: Btf, settings: list[str], maps: list[str], cache: ProgramCache | None
    ) -> Loaded:
        """The programs, kept from another run or compiled now."""
        programs = (*self._tracepoints.values(), *_CONTINUATIONS, _ENDING)
        programs += (_TASK_MADE,) if "-DKEBPF_TASKS" in settings else ()
        source, tail_calls = f"door_{self.door.value}.c", {"continuations": _CONTINUATIONS}
        if "-DKEBPF_TLS" in settings:
            programs += (*TLS_PROGRAMS, *_TLS_CONTINUATIONS)
            tail_calls["tls_continuations"] = _TLS_CONTINUATIONS
        parts = (source, programs, maps, settings, self._has_links)
        key = make_key(btf.digest(), *parts) if cache else ""
        kept = load_kept(cache, key, maps, tail_calls) if cache else None
        if kept is not None:
            return kept

        def keep(compiled: Compiled) -> None:
            if cache is not None:
                cache.keep(key, compiled.encode())

        flags = [*offset_flags(btf), *settings]
        flags += group_offset_flags(btf) if "-DKEBPF_GROUPS" in settings else []
        wanted = dict.fromkeys(programs, Program(RAW_TRACEPOINT))
        kind = Program(KPROBE, UPROBE_MULTI if self._has_links else -1)
        wanted |= dict.fromkeys({*TLS_PROGRAMS, *_TLS_CONTINUATIONS} & wanted.keys(), kind)
        if _TASK_MADE in wanted:
            wanted[_TASK_MADE] = Program(KPROBE)
        return load_programs(source, wanted, maps, flags, tail_calls, keep if cache else None)

    def watch(self, pids: Iterable[int]) -> None:
        """Adds processes to the targets; their later children follow by themselves."""
        for pid in pids:
            self._targets[_U32.pack(pid)] = _U32.pack(1)
            self._slots[_U32.pack(pid % _TARGET_SLOTS)] = _U64.pack(pid)
        self.wake()

    def unwatch(self, pids: Iterable[int]) -> None:
        """Takes processes off the targets; those that are none already do not matter."""
        for pid in pids:
            self._slots[_U32.pack(pid % _TARGET_SLOTS)] = _ASK
            with contextlib.suppress(FileNotFoundError):
                del self._targets[_U32.pack(pid)]

    def watch_groups(self, groups: Iterable[Group], are_awaited: bool = False) -> None:
        """Adds control groups: what starts in them, is moved into them or made below is watched.

        If they ``are_awaited`` they are watched again when they were removed and are made anew.
        What runs in them already is for `watch`.
        """
        for group in groups:
            self._groups[group.key] = _U32.pack(1)
            if are_awaited:
                self._group_paths[group.path_key] = _U32.pack(1)

    def tell_listening(self, listening: Iterable[int]) -> None:
        """Ports on which targets listened before they were watched: filters need to know."""
        if self._listening is not None:
            for port in listening:
                self._listening[_U32.pack(port)] = _U32.pack(1)

    def attach(self) -> None:
        """Attaches every probe.  Raises `KernelError`."""
        self._is_over[_U32.pack(0)] = _U32.pack(0)
        for tracepoint, function in self._tracepoints.items():
            try:
                link = attach_raw_tracepoint(self._loaded.programs[function], tracepoint)
            except OSError as error:
                raise KernelError(
                    f"the kernel refuses a probe on {tracepoint}: {error.strerror}",
                    "see `kebpf doctor`",
                ) from None
            self._links.append(link)
        self._loaded.close_programs(but=_KEPT)

    def watch_tasks(self, pid: int, path: str, offset: int, entries: int) -> int:
        """Follows the asyncio tasks that a process makes at ``offset`` of a file; a descriptor.

        ``entries`` is as in `kebpf.capture.interpreter.TaskCode`.  The probe goes with the
        descriptor.  Raises ``OSError``.
        """
        link = attach_uprobe(self._loaded.programs[_TASK_MADE], path, offset, pid)
        self._task_places[_U32.pack(pid)] = _TASK_PLACE.pack(0, entries, 0)
        return link

    def attach_tls(
        self, program: str, pid: int, path: str, offsets: Sequence[int], is_return: bool = False
    ) -> list[int]:
        """Has one of `TLS_PROGRAMS` run at places of a file in a process; descriptors.

        The probes go with the descriptors.  ``pid`` 0: in all processes.  Raises ``OSError``.
        """
        loaded = self._loaded.programs[program]
        return attach_uprobes(loaded, path, offsets, pid, is_return, self._has_links)

    def tell_tls(self, pid: int, mode: TlsMode) -> None:
        """How socket calls of a process are found to be within one of its TLS library's."""
        self._tls_modes[_U32.pack(pid)] = _U32.pack(mode)
        self._has_tls[_U32.pack(0)] = _U32.pack(1)

    def await_news(self, seconds: float) -> list[int]:
        """Waits, for so long at most, for processes that are to be looked at; by their ids."""
        self._news.wait(seconds)
        run = self._news.drain(PAGE)
        return [_U32.unpack_from(run, at + 8)[0] for at in range(0, len(run), 16)]

    def wake(self) -> None:
        """Has `await_news` return: there may be other processes, or an end to it."""
        if self.with_tls:
            self._news.wake()

    def has_memory_sessions(self, pid: int) -> bool | None:
        """Whether a process has had TLS sessions on memory BIOs; ``None``: none on sockets yet."""
        try:
            on_sockets, in_memory = _TLS_KINDS.unpack(self._tls_kinds[_U32.pack(pid)])
        except KeyError:
            return None
        return in_memory > 0 if in_memory or on_sockets else None

    def has_tls(self, pid: int) -> bool:
        """Whether `tell_tls` was called for the program that runs there now."""
        try:
            self._tls_modes[_U32.pack(pid)]
        except KeyError:
            return False
        return True

    def read_task_type(self, pid: int) -> int | None:
        """The address of the type of the first task that was made; ``None``: it is not watched."""
        try:
            place = self._task_places[_U32.pack(pid)]
        except KeyError:
            return None  # another program runs there now, or none
        task_type: int = _TASK_PLACE.unpack(place)[2]
        return task_type

    def tell_running(self, pid: int, entries: int, running: int) -> None:
        """Where the process keeps the tasks that run."""
        task_type = self.read_task_type(pid)
        if task_type is not None:
            self._task_places[_U32.pack(pid)] = _TASK_PLACE.pack(running, entries, task_type)

    def detach(self) -> None:
        """Stops events from coming; what is in the ring can still be read.

        All at the same moment, which is before they are taken away.
        """
        if self._links:
            self._is_over[_U32.pack(0)] = _U32.pack(1)
        for link in self._links:
            os.close(link)
        self._links.clear()

    def watched(self) -> list[int]:
        """The processes watched now: those that have ended are none."""
        return [_U32.unpack(key)[0] for key, _ in self._targets.items()]

    def counts(self) -> dict[str, int]:
        """Counters of the probes: events and the names in `_COUNTS`; sizes in bytes."""
        counts = {
            name: _U64.unpack(self._counts[_U32.pack(index)])[0]
            for index, name in enumerate(_COUNTS)
        }
        with self._emitted.counters(_TRIED) as tried:
            return {"events": sum(tried) - counts["lost_events"], **counts}

    def open_connections(self) -> list[Moved]:
        """What each connection still open has moved, but for those left out by filters."""
        found = []
        for key, value in self._connections.items():
            fields = _CONNECTION.unpack(value)
            if not fields[_LEFT_OUT]:
                sk = _U64.unpack(key)[0]
                found.append(Moved(sk, fields[0], (fields[3], fields[4]), (fields[5], fields[6])))
        return found

    def untold_lives(self) -> list[UntoldLife]:
        """The entries that only `end_life` removes, also of connections left out by filters."""
        found = []
        for key, value in self._connections.items():
            fields = _CONNECTION.unpack(value)
            if fields[_TRANSPORT] != Transport.TCP:
                found.append(UntoldLife(_U64.unpack(key)[0], fields[0], fields[_INODE]))
        return found

    def end_life(self, life: UntoldLife) -> None:
        """Removes an entry, if it is still this life's, and has its end told in the ring.

        Raises ``OSError``, also where the kernel cannot run a probe so (before 5.10).
        """
        run_raw_tracepoint(self._loaded.programs[_ENDING], (life.socket, life.generation))

    def close(self) -> None:
        """Detaches and frees everything."""
        self.detach()
        self.ring.close()
        self._emitted.close()
        if self.with_tls:
            self._news.close()
        self._loaded.close()


def _count_rounds(call_limit: int) -> int:
    """Buffers or chunks that one program copies before it calls the next, for any call to be whole.

    The kernel allows a chain of 33 (MAX_TAIL_CALL_CNT); the verifier's time grows with each round.
    """
    most = call_limit // CHUNK + MOST_BUFFERS
    return -(-most // 32)


def _count_processors() -> int:
    """Processors that may ever run (``/sys/devices/system/cpu/possible``, ``0-7``)."""
    numbers = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(numbers.replace(",", "-").rpartition("-")[2]) + 1
