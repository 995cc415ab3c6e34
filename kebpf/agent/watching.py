"""Watches over one target: a recorder process a version and day, started again when it fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.agent.config import Keeping, Limits, TargetConfig
from kebpf.agent.following import Followed, Follower
from kebpf.agent.journal import Journal
from kebpf.agent.naming import choose_folder
from kebpf.agent.recorder import Order, Setup
from kebpf.agent.tally import Tally
from kebpf.agent.worker import Stage, Worker
from kebpf.capture.filters import Filters
from kebpf.kernel.sandbox import Sandbox

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a recorder is started again
_HEALTHY_SECONDS = 60.0
_SILENT_SECONDS = 30.0  # without a word: it hangs
_LOADING_SECONDS = 240.0  # the same until it records: loading the probes has a limit of its own
_LATE_SECONDS = 1.0

Spawn = Callable[[Setup, Order, str], Worker]


@dataclass(slots=True)
class Setting:
    """What a target's watch needs of the agent: where to, how, and today's name."""

    folder: Path
    spawn: Spawn
    journal: Journal
    limits: Limits
    keeping: Keeping = field(default_factory=Keeping)
    today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d")
    recover: Callable[[Path], None] = lambda _: None
    sandbox: Sandbox | None = None


@dataclass(slots=True)
class _Charge:
    """A recorder process and what it was told to watch: numbers with when they started."""

    worker: Worker
    day: str
    told: set[tuple[int, int]] = field(default_factory=set)


class TargetWatch:
    """Follows one target.  `look` and `tick` are to be called often; nothing in here waits."""

    def __init__(self, config: TargetConfig, follower: Follower, setting: Setting) -> None:
        self.config = config
        self.tally = Tally()
        self._follower = follower
        self._setting = setting
        self._charges: list[_Charge] = []
        self._pause = SHORTEST_PAUSE
        self._retry_at = 0.0
        self._is_ending = False

    @property
    def setup(self) -> Setup:
        """What its recorder processes are made with."""
        config = self.config
        filters = Filters(config.ports, config.excluded_ports, config.is_inbound_only)
        limits = self._setting.limits
        return Setup(filters, limits.backlog, limits.rate, self._setting.sandbox)

    @property
    def workers(self) -> list[Worker]:
        """All that have not ended, those that write their set too."""
        return [one.worker for one in self._charges]

    @property
    def current(self) -> Worker | None:
        """The newest that is not writing its set."""
        active = self._active()
        return active[-1].worker if active else None

    @property
    def followed(self) -> list[Followed]:
        return list(self._follower.followed.values())

    @property
    def is_undecided(self) -> bool:
        return self._follower.is_undecided

    @property
    def is_paused(self) -> bool:
        """Whether a recorder failed and is to be started again later."""
        return time.monotonic() < self._retry_at

    def look(self, pids: Iterable[int] | None = None, seen_ns: int = 0) -> bool:
        """Looks for processes, as `Follower.look`; whether there were new ones."""
        if self._is_ending:
            return False
        found = self._follower.look(pids, seen_ns)
        for one in found:
            self._log_found(one)
        if found:
            self._ensure()
        return bool(found)

    def tick(self) -> None:
        """Takes what recorders did, ends those that are over and starts those that are due."""
        for one in self._follower.forget_ended():
            self._setting.journal.info(f"{self.config.name}: process {one.pid} has ended")
        for charge in list(self._charges):
            self._look_after(charge)
        self.tally.sample(self.workers)
        if not self._is_ending:
            self._ensure()
            self._end_superseded()

    def begin_anew(self) -> None:
        """Ends the sets that are written, and begins new ones."""
        for charge in self._active():
            charge.day = ""

    def finish(self) -> None:
        """Has all sets written; `is_over` says when they are."""
        self._is_ending = True
        for charge in self._charges:
            charge.worker.finish()

    @property
    def is_alive(self) -> bool:
        """Whether no recorder process hangs that should have been ended for it."""
        now = time.monotonic()
        return all(now - one.heard < 2 * _find_patience(one) for one in self.workers)

    @property
    def is_over(self) -> bool:
        return self._is_ending and not self._charges

    def kill(self) -> None:
        """Ends what does not end."""
        for charge in self._charges:
            charge.worker.kill()

    def close(self) -> None:
        """Nobody is looked for any more; to be called when it `is_over`."""
        self._follower.close()

    def release(self) -> None:
        """In a recorder process: closes the copies of the others' descriptors."""
        self._follower.close()
        for charge in self._charges:
            charge.worker.release()

    def _active(self) -> list[_Charge]:
        stages = (Stage.STARTING, Stage.RECORDING)
        return [one for one in self._charges if one.worker.stage in stages]

    def _ensure(self) -> None:
        """Each process that is followed is watched by the recorder of its version."""
        day = self._setting.today()
        for one in self.followed:
            key = (one.pid, one.started)
            digest = one.version.digest
            charges = [c for c in self._active() if c.worker.version == digest and c.day == day]
            if not charges:
                if not self.is_paused:
                    self._start(digest, day)
                continue
            charge = charges[-1]
            if key not in charge.told:
                charge.told.add(key)
                charge.worker.watch(one.pid, one.seen_ns)
            for other in self._active():
                if other.worker.version != digest and key in other.told:
                    other.told.discard(key)  # it runs another version now
                    other.worker.unwatch([one.pid])

    def _start(self, version: str, day: str) -> None:
        members = [one for one in self.followed if one.version.digest == version]
        taken = [one.worker.order.folder for one in self._charges]
        folder = choose_folder(self._setting.folder, day, version, taken)
        config = self.config
        order = Order(
            folder,
            config.describe(),
            tuple(one.pid for one in members),
            self._setting.keeping,
        )
        try:
            worker = self._setting.spawn(self.setup, order, version)
        except OSError as error:
            self._fail(f"no recorder process can be started: {error.strerror}")
            return
        for one in members:
            worker.note_seen(one.pid, one.seen_ns)
        told = {(one.pid, one.started) for one in members}
        self._charges.append(_Charge(worker, day, told))
        self._setting.journal.info(f"{config.name}: version {version} is recorded to {folder}")

    def _look_after(self, charge: _Charge) -> None:
        worker = charge.worker
        worker.hear()
        self._note_latencies(worker)
        if not worker.reap():
            silent = time.monotonic() - worker.heard
            if silent > _find_patience(worker) and worker.stage is not Stage.FAILED:
                worker.error = f"the recorder process said nothing for {silent:.0f} s"
                worker.kill()
            if worker.stage is Stage.RECORDING and self._is_healthy(worker):
                self._pause = SHORTEST_PAUSE
            return
        self._charges.remove(charge)
        self.tally.add(worker)
        if worker.stage is Stage.FAILED:
            self._fail(worker.error)
            self._setting.recover(self._setting.folder)
        elif worker.stage is Stage.FINISHED:
            self._keep(worker)

    def _is_healthy(self, worker: Worker) -> bool:
        return time.monotonic() - worker.started > _HEALTHY_SECONDS

    def _keep(self, worker: Worker) -> None:
        name, folder = self.config.name, worker.order.folder
        counted = ("requests", "test_cases", "mocks", "set_apart")
        requests, cases, mocks, apart = (worker.progress.get(one, 0) for one in counted)
        if not cases and not mocks and not apart:
            shutil.rmtree(folder, ignore_errors=True)
            what = (
                f"none of {requests} requests made a test case"
                if requests
                else "nothing was recorded"
            )
            self._setting.journal.info(f"{name}: {what}, so no set is kept")
            return
        self.tally.note_set(folder)
        more = f", {apart} cases set apart" if apart else ""
        what = f"{requests} requests → {cases} test cases, {mocks} mocks{more}"
        self._setting.journal.info(f"{name}: {folder} is whole: {what}")

    def _fail(self, error: str) -> None:
        self.tally.note_error(error)
        self._setting.journal.error(
            f"{self.config.name}: {error}; it is tried again in {self._pause:.0f} s"
        )
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _end_superseded(self) -> None:
        """Those of another version without a process, and of whose place another has taken."""
        active, day = self._active(), self._setting.today()
        for at, charge in enumerate(active):
            worker = charge.worker
            later = [c.worker for c in active[at + 1 :] if c.worker.stage is Stage.RECORDING]
            is_replaced = any(one.version == worker.version for one in later)
            is_over = worker.is_idle and (bool(later) or charge.day != day)
            if is_replaced or is_over:
                worker.finish()

    def _note_latencies(self, worker: Worker) -> None:
        for pid, seconds in worker.latencies.items():
            self.tally.note_latency(seconds)
            if seconds > _LATE_SECONDS:
                self._setting.journal.warn(
                    f"{self.config.name}: process {pid} was watched {seconds:.1f} s after it had "
                    "begun: what it did before is not recorded"
                )
        worker.latencies.clear()

    def _log_found(self, one: Followed) -> None:
        self.tally.followed += 1
        already = "" if one.seen_ns else ", which ran before: what it did before is not recorded"
        self._setting.journal.info(
            f"{self.config.name}: follows process {one.pid} ({one.program.name}), version "
            f"{one.version.digest}{already}"
        )


def _find_patience(worker: Worker) -> float:
    """How many seconds it may say nothing."""
    return _LOADING_SECONDS if worker.stage is Stage.STARTING else _SILENT_SECONDS
