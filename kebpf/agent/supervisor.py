"""The agent: one loop that follows all targets, and answers systemd and who asks for its status."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from kebpf.agent.config import AgentConfig, ConfigError, TargetConfig, load_config
from kebpf.agent.following import Follower
from kebpf.agent.housing import Disk, choose_sandbox, make_target_folder
from kebpf.agent.journal import Journal
from kebpf.agent.limits import apply_limits
from kebpf.agent.lock import AgentLock
from kebpf.agent.metrics import write_metrics
from kebpf.agent.notify import Notifier
from kebpf.agent.recorder import Setup, load_all
from kebpf.agent.recovering import Recoverer
from kebpf.agent.selecting import make_selector
from kebpf.agent.serving import Server, bind_address, bind_unix
from kebpf.agent.statefile import StateFile
from kebpf.agent.status import describe_agent
from kebpf.agent.version import VersionReader
from kebpf.agent.watching import Setting, TargetWatch
from kebpf.agent.worker import Pool
from kebpf.kernel.execs import Exec, ExecWatch

LOCK_NAME = ".agent.lock"
_TURN_SECONDS = 0.2
_SWEEP_SECONDS, _POLL_SECONDS = 1.0, 0.2  # the second where the kernel tells nothing by itself
_SOON_SECONDS = (0.03, 0.1, 0.3)  # behind a new program: it may start others at once
_STATE_SECONDS = 5.0
_READY_SECONDS = 10.0
_RECOVER_SECONDS = 20.0  # behind the end of a recorder: its assembler finishes by itself
_EXTENSION_SECONDS = 15.0
_FEWEST_EXECS = 500  # of one turn: from there on all processes are looked through instead


class StartError(Exception):
    """The agent cannot start; the text is one sentence."""


class Supervisor:
    """Made and then `run`; raises `StartError`, `SecondAgentError` and `ConfigError` at first."""

    def __init__(
        self,
        config_path: Path,
        journal: Journal,
        notifier: Notifier,
        today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d"),
    ) -> None:
        self._config_path = config_path
        self._config = load_config(config_path)
        self._journal = journal
        self._notifier = notifier
        self._today = today
        self._started = time.time()
        self._config_error = ""
        self._watches: dict[str, TargetWatch] = {}
        self._leaving: list[TargetWatch] = []  # of targets that are no more in the configuration
        self._versions = VersionReader()
        self._selector = selectors.DefaultSelector()
        self._stack = ExitStack()
        self._servers: list[Server] = []
        self._pool = Pool(self._release)
        self._execs: ExecWatch | None = None
        self._lock: AgentLock | None = None
        self._signals: set[int] = set()
        self._next_sweep = 0.0
        self._soon: list[float] = []
        self._next_state = 0.0

    def run(self) -> None:
        """Until SIGTERM or SIGINT; all sets are whole when it returns."""
        with self._stack:
            self._begin()
            self._pool.keep(self._setups())
            self._pool.await_ready(_READY_SECONDS)
            self._journal.info(f"follows {len(self._watches)} targets; {self._describe_watch()}")
            self._notifier.tell_ready()
            while not self._signals & {signal.SIGTERM, signal.SIGINT}:
                self._turn()
                if signal.SIGHUP in self._signals:
                    self._signals.discard(signal.SIGHUP)
                    self._reload()
            self._end()

    def _begin(self) -> None:
        config = self._config
        try:
            config.output.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._lock = AgentLock(config.output / LOCK_NAME)
            self._state = StateFile(config.output)
        except OSError as error:
            raise StartError(f"{config.output} cannot be used: {error.strerror}") from error
        self._stack.callback(self._lock.release)
        if self._state.warning:
            self._journal.warn(self._state.warning)
        self._sandbox = choose_sandbox(config.user, self._journal)
        self._recoverer = Recoverer(self._sandbox, self._release)
        self._stack.callback(self._recoverer.close)
        self._disk = Disk(config.output, config.limits.disk, self._journal)
        load_all()
        self._stack.callback(self._pool.close)
        for warning in apply_limits(config.limits):
            self._journal.warn(warning)
        self._listen_for_signals()
        self._open_execs()
        self._open_servers()
        for target in config.targets:
            self._watches[target.name] = self._make_watch(target)

    def _listen_for_signals(self) -> None:
        """Python runs a handler between two steps only: the loop is woken by a byte in a pipe."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            self._stack.callback(end.close)
        self._wakeup = (ours, theirs)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._stack.callback(signal.set_wakeup_fd, before)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            previous = signal.signal(number, lambda number, _: self._signals.add(number))
            self._stack.callback(signal.signal, number, previous)
        self._selector.register(ours, selectors.EVENT_READ, lambda _: _drain(ours))

    def _open_execs(self) -> None:
        try:
            self._execs = ExecWatch()
        except OSError as error:
            self._journal.notice(f"the kernel tells of no new programs here ({error.strerror})")
            return
        self._stack.callback(self._execs.close)
        self._selector.register(self._execs, selectors.EVENT_READ, lambda _: self._take_execs())

    def _describe_watch(self) -> str:
        if self._execs is not None:
            return "new programs are told by the kernel"
        return f"all processes are looked at every {_POLL_SECONDS} s"

    def _open_servers(self) -> None:
        config = self._config
        try:
            listener = bind_unix(config.socket)
            self._servers.append(Server(listener, self._selector, self._describe))
            if config.metrics is not None:
                listener = bind_address(config.metrics)
                self._servers.append(
                    Server(listener, self._selector, self._describe_metrics, is_http=True)
                )
        except OSError as error:
            self._close_servers()
            where = f"{config.socket} or {config.metrics}" if config.metrics else config.socket
            raise StartError(f"{where} cannot be listened at: {error.strerror}") from error
        self._stack.callback(self._close_servers)

    def _close_servers(self) -> None:
        while self._servers:
            self._servers.pop().close()

    def _make_watch(self, target: TargetConfig) -> TargetWatch:
        are_told = self._execs is not None
        selector = make_selector(target, are_told)
        follower = Follower(selector, self._versions, _is_agent, are_told=are_told)
        folder = self._config.output / target.name
        make_target_folder(folder, self._sandbox)
        setting = Setting(
            folder,
            self._pool.take,
            self._journal,
            self._config.limits,
            self._config.keeping,
            self._today,
            lambda folder: self._recoverer.ask(folder, _RECOVER_SECONDS),
            self._sandbox,
        )
        self._recoverer.ask(folder)
        watch = TargetWatch(target, follower, setting)
        known = self._state.targets.get(target.name, {})
        if known.get("last_set"):
            watch.tally.last_set = Path(str(known["last_set"]))
        return watch

    def _setups(self) -> set[Setup]:
        """Of all targets: a recorder process is in reserve for each."""
        return {watch.setup for watch in self._watches.values()}

    def _release(self) -> None:
        """In a recorder process: closes all that is the supervisor's."""
        signal.set_wakeup_fd(-1)
        if self._lock is not None:
            self._lock.release()
        for end in self._wakeup:
            end.close()
        for server in self._servers:
            server.release()
        if self._execs is not None:
            self._execs.close()
        self._pool.release()
        self._recoverer.release()
        for watch in (*self._watches.values(), *self._leaving):
            watch.release()
        self._selector.close()

    def _turn(self) -> None:
        now = time.monotonic()
        due = min([self._next_sweep, *self._soon])
        for key, mask in self._selector.select(min(_TURN_SECONDS, max(0.0, due - now))):
            key.data(mask)
        self._look()
        for watch in (*self._watches.values(), *self._leaving):
            watch.tick()
        for watch in [watch for watch in self._leaving if watch.is_over]:
            watch.close()
            self._leaving.remove(watch)
        self._pool.keep(self._setups())
        for sentence in self._recoverer.look():
            self._journal.notice(sentence)
        if self._disk.look(self._watches.values()):
            self._next_sweep = 0.0
        self._notifier.ping(all(watch.is_alive for watch in self._watches.values()))
        self._notifier.tell_status(self._describe_line())
        self._keep_state()

    def _look(self) -> None:
        """All processes now and then; sooner where something is about to happen."""
        now = time.monotonic()
        is_soon = any(at <= now for at in self._soon)
        self._soon = [at for at in self._soon if at > now]
        is_sweep = now >= self._next_sweep
        if is_sweep:
            self._next_sweep = now + (_POLL_SECONDS if self._needs_polling else _SWEEP_SECONDS)
        for watch in self._watches.values():
            polled = watch.config.kind == "listen"
            if is_sweep or is_soon or watch.is_undecided or polled:
                self._look_at(watch)

    @property
    def _needs_polling(self) -> bool:
        return self._execs is None or any(
            watch.config.kind == "listen" for watch in self._watches.values()
        )

    def _look_at(self, watch: TargetWatch, execs: Exec | None = None) -> None:
        """What fails with one target is no reason to leave the others."""
        try:
            is_new = watch.look() if execs is None else watch.look([execs.pid], execs.time_ns)
        except OSError as error:
            watch.tally.note_error(f"its processes cannot be looked at: {error.strerror}")
            return
        if is_new or watch.is_undecided:
            now = time.monotonic()
            self._soon = sorted({*self._soon, *(now + seconds for seconds in _SOON_SECONDS)})[:16]

    def _take_execs(self) -> None:
        if self._execs is None:
            return
        execs, are_all = self._execs.look()
        if not are_all or len(execs) > _FEWEST_EXECS:
            self._next_sweep = 0.0
            execs = execs[:_FEWEST_EXECS]
        for one in execs:
            for watch in self._watches.values():
                self._look_at(watch, one)

    def _reload(self) -> None:
        """A configuration with an error is refused, and the old one stays in force."""
        self._notifier.tell_reloading()
        try:
            config = load_config(self._config_path)
            _check_unchanged(self._config, config)
        except ConfigError as error:
            self._config_error = str(error)
            self._journal.error(f"the configuration is refused, the old one stays: {error}")
        else:
            self._config_error = ""
            self._take_config(config)
        self._notifier.tell_ready()

    def _take_config(self, config: AgentConfig) -> None:
        wanted = {target.name: target for target in config.targets}
        old = self._config
        is_other = _what_recorders_know(config) != _what_recorders_know(old)
        for name, watch in list(self._watches.items()):
            if wanted.get(name) != watch.config or is_other:
                del self._watches[name]
                watch.finish()
                self._leaving.append(watch)
        self._config = config
        added = [target for name, target in wanted.items() if name not in self._watches]
        for target in added:
            self._watches[target.name] = self._make_watch(target)
        for warning in apply_limits(config.limits):
            self._journal.warn(warning)
        self._disk = Disk(config.output, config.limits.disk, self._journal)
        self._next_sweep = 0.0
        kept = len(self._watches) - len(added)
        self._journal.info(
            f"reloaded: {len(added)} targets new or changed, {kept} as before, "
            f"{len(self._leaving)} ended"
        )

    def _end(self) -> None:
        """Nothing is started any more; what does not end in time is killed."""
        self._notifier.tell_stopping()
        watches = [*self._watches.values(), *self._leaving]
        for watch in watches:
            watch.finish()
        deadline = time.monotonic() + self._config.stop_seconds
        next_word = 0.0
        while not all(watch.is_over for watch in watches):
            now = time.monotonic()
            if now >= next_word:
                next_word = now + 1.0
                left = sum(len(watch.workers) for watch in watches)
                self._notifier.ask_for_time(min(_EXTENSION_SECONDS, max(1.0, deadline - now)))
                self._notifier.tell_status(f"writing test sets: {left} left")
            if now >= deadline:
                for watch in watches:
                    watch.kill()
                deadline = now + _EXTENSION_SECONDS
            for key, mask in self._selector.select(_TURN_SECONDS):
                key.data(mask)
            for watch in watches:
                watch.tick()
            self._notifier.ping(is_alive=True)
        for watch in watches:
            watch.close()
        self._next_state = 0.0
        self._keep_state()
        self._journal.info("ended; all that was recorded is on the disk")

    def _keep_state(self) -> None:
        now = time.monotonic()
        if now < self._next_state:
            return
        self._next_state = now + _STATE_SECONDS
        targets = {name: _state_of(watch) for name, watch in self._watches.items()}
        with contextlib.suppress(OSError):  # a full disk: the sets' own errors say it
            self._state.write(targets)

    def _describe(self) -> str:
        status = describe_agent(
            self._list(), self._config.output, self._started, self._config_error
        )
        return json.dumps(status) + "\n"

    def _describe_metrics(self) -> str:
        return write_metrics(
            describe_agent(self._list(), self._config.output, self._started, self._config_error)
        )

    def _list(self) -> Iterator[TargetWatch]:
        yield from self._watches.values()

    def _describe_line(self) -> str:
        recording = sum(1 for watch in self._list() if watch.current is not None)
        failing = sum(1 for watch in self._list() if watch.is_paused)
        told = f"{recording} of {len(self._watches)} targets recorded"
        return f"{told}, {failing} failing" if failing else told


def _is_agent(pid: int) -> bool:
    """All that the agent starts is below it."""
    return pid == os.getpid()


def _drain(end: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while end.recv(4096):
            pass


def _check_unchanged(old: AgentConfig, new: AgentConfig) -> None:
    """Raises `ConfigError`."""
    for key in ("output", "socket", "metrics", "user"):
        if getattr(old, key) != getattr(new, key):
            raise ConfigError(f"{key} cannot be changed while the agent runs: restart it")


def _what_recorders_know(config: AgentConfig) -> tuple[object, ...]:
    return config.limits.backlog, config.limits.rate, config.keeping


def _state_of(watch: TargetWatch) -> dict[str, str]:
    current = watch.current
    return {
        "version": current.version if current else "",
        "set": str(current.order.folder) if current else "",
        "last_set": str(watch.tally.last_set or ""),
        "last_error": watch.tally.last_error,
    }
