"""Which processes are looked at when, and what is done and said of those that are JVMs."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

import pytest

from kebpf.capture import javawatch
from kebpf.capture.events import decode_run
from kebpf.capture.javawatch import JavaWatch
from kebpf.capture.jvm import AttachError, Jvm
from kebpf.capture.tlsevents import Library, TlsCode

ENDED = 99


@dataclass
class Host:
    """Processes, JVMs among them, and what was asked of them."""

    pids: list[int]
    jvms: set[int] = field(default_factory=set)
    with_agent: set[int] = field(default_factory=set)
    looks: list[int] = field(default_factory=list)
    notes: list[bytes] = field(default_factory=list)
    attached: dict[int, int] = field(default_factory=dict)  # → the other end of what is held
    now: float = 0.0
    error: Exception | None = None
    may_answer: threading.Event = field(default_factory=threading.Event)

    def watched(self) -> list[int]:
        return self.pids

    def read(self, pid: int) -> Jvm | None:
        self.looks.append(pid)
        if pid == ENDED:
            raise ProcessLookupError
        return Jvm(pid, pid, 0, 0, True, True) if pid in self.jvms else None

    def attach(self, jvm: Jvm) -> int:
        assert self.may_answer.wait(10)
        if self.error is not None:
            raise self.error
        self.attached[jvm.pid], owner = os.pipe()
        return owner

    def is_held(self, pid: int) -> bool:
        """Whether the descriptor that was given is open."""
        os.set_blocking(self.attached[pid], False)
        try:
            return os.read(self.attached[pid], 1) != b""
        except BlockingIOError:
            return True

    def said(self) -> list[tuple[int, Library, bool]]:
        events = [event for note in self.notes for event in decode_run(note)]
        return [
            (event.head.pid, event.library, event.is_read)
            for event in events
            if isinstance(event, TlsCode)
        ]


def make_watch(host: Host, monkeypatch: pytest.MonkeyPatch, is_wanted: bool = True) -> JavaWatch:
    monkeypatch.setattr(javawatch, "read_jvm", host.read)
    monkeypatch.setattr(javawatch, "has_agent", lambda pid: pid in host.with_agent)
    return JavaWatch(host, host.notes.append, is_wanted, host.attach, lambda: host.now)


def settle(watch: JavaWatch, host: Host) -> None:
    """Until those that were asked have answered."""
    host.may_answer.set()
    watch.look()
    assert watch._pool is not None
    watch._pool.shutdown()
    watch.look()


def test_a_jvm_is_attached_to_once_and_held_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([7, 8], jvms={7})
    watch = make_watch(host, monkeypatch)
    settle(watch, host)
    host.now += 100
    watch.look()
    assert host.attached.keys() == {7}
    assert host.looks.count(7) == 1
    assert host.is_held(7)
    watch.close()
    assert not host.is_held(7)
    assert host.said() == [(7, Library.JAVA, True)]


def test_targets_are_attached_to_before_they_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([], jvms={7, 9})
    host.may_answer.set()
    watch = make_watch(host, monkeypatch)
    watch.prepare([7, 8, 9, ENDED])
    assert host.attached.keys() == {7, 9}
    assert sorted(host.said()) == [(7, Library.JAVA, True), (9, Library.JAVA, True)]
    host.pids = [7, 8, 9]
    watch.look()
    assert all(host.is_held(pid) for pid in (7, 9))
    watch.close()


def test_one_that_has_ended_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([7], jvms={7})
    watch = make_watch(host, monkeypatch)
    settle(watch, host)
    host.pids = []
    watch.look()
    assert not host.is_held(7)


def test_one_that_is_slow_does_not_hold_up_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([7], jvms={7})
    watch = make_watch(host, monkeypatch)
    watch.look()
    watch.look()  # nothing came yet
    assert host.attached == {}
    host.may_answer.set()
    watch.close()  # what came too late is let go
    assert not host.is_held(7)


def test_without_the_option_it_is_said_that_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host([7, 8], jvms={7})
    watch = make_watch(host, monkeypatch, is_wanted=False)
    watch.look()
    assert host.said() == [(7, Library.JAVA, False)]
    assert host.attached == {}


@pytest.mark.parametrize("is_wanted", [True, False])
def test_one_that_was_started_with_it_reports_by_itself(
    monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    host = Host([7], jvms={7}, with_agent={7})
    watch = make_watch(host, monkeypatch, is_wanted)
    watch.look()
    watch.close()
    assert (host.said(), host.attached) == ([], {})


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AttachError("java (7) wants none"), "java (7) wants none"),
        (OSError(3, "No such process"), "no agent could be put into process 7: No such process"),
    ],
)
def test_why_one_could_not_be_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    host = Host([7], jvms={7}, error=error)
    watch = make_watch(host, monkeypatch)
    settle(watch, host)
    assert watch.refusals == [text]
    assert host.said() == [(7, Library.JAVA, False)]


def test_a_process_is_looked_at_often_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that starts a JVM in its place is none before."""
    host = Host([8, ENDED])
    watch = make_watch(host, monkeypatch, is_wanted=False)
    for tenth in range(600):
        host.now = tenth / 10
        watch.look()
    assert 15 <= host.looks.count(8) - 11 <= 25  # in 5 seconds; then 11 in 55
    assert host.looks.count(ENDED) > 1
    host.jvms.add(8)
    host.now += 5
    watch.look()
    assert host.said() == [(8, Library.JAVA, False)]
