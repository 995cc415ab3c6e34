"""When lives are ended: not at the first look, never of a held socket, and at a bounded cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.capture.endings import EndWatch
from kebpf.capture.probes import UntoldLife
from kebpf.kernel.processes import HiddenSocketsError


@dataclass
class FakeKernel:
    """Sockets by process, and the lives of them that were seen to move bytes."""

    held: dict[int, set[int]] = field(default_factory=dict)
    lives: list[UntoldLife] = field(default_factory=list)
    ended: list[UntoldLife] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    begun: int = 0
    unfollowed_size: int = 0
    looks: int = 0
    now: float = 0.0
    look_seconds: float = 0.0
    refuses: bool = False

    def begin(self, inode: int) -> UntoldLife:
        self.begun += 1
        self.lives.append(UntoldLife(inode * 64, self.begun, inode))
        return self.lives[-1]

    def counts(self) -> dict[str, int]:
        return {"untold_lives": self.begun, "unfollowed_bytes": self.unfollowed_size}

    def watched(self) -> list[int]:
        return list(self.held)

    def untold_lives(self) -> list[UntoldLife]:
        self.looks += 1
        self.now += self.look_seconds
        return list(self.lives)

    def end_life(self, life: UntoldLife) -> None:
        if self.refuses:
            raise OSError(95, "not supported")
        self.ended.append(life)
        self.lives.remove(life)

    def list_sockets(self, pid: int) -> set[int]:
        if pid in self.hidden:
            raise HiddenSocketsError(pid)
        if pid not in self.held:
            raise ProcessLookupError(pid)
        return self.held[pid]

    def make_watch(self) -> EndWatch:
        return EndWatch(self, self.list_sockets, lambda: self.now)

    def look_after(self, watch: EndWatch, seconds: float) -> None:
        self.now += seconds
        watch.look()


def test_a_life_ends_when_nobody_holds_the_socket_at_two_looks() -> None:
    kernel = FakeKernel(held={1: {70, 71}, 2: {72}})
    first, second, third = map(kernel.begin, (70, 72, 73))
    watch = kernel.make_watch()
    kernel.look_after(watch, 2)
    assert kernel.ended == []
    kernel.look_after(watch, 2)
    assert kernel.ended == [third]
    del kernel.held[2]
    kernel.look_after(watch, 2)
    assert kernel.ended == [third]
    kernel.look_after(watch, 2)
    assert kernel.ended == [third, second]
    assert kernel.lives == [first]


def test_a_socket_on_its_way_from_one_process_to_another_goes_on() -> None:
    kernel = FakeKernel(held={1: {70}, 2: set()})
    kernel.begin(70)
    watch = kernel.make_watch()
    kernel.held[1] = set()
    kernel.look_after(watch, 2)
    kernel.held[2] = {70}
    kernel.look_after(watch, 2)
    kernel.held[2] = set()
    kernel.look_after(watch, 2)
    assert kernel.ended == []


def test_what_cannot_be_seen_ends_nothing() -> None:
    kernel = FakeKernel(held={1: set()}, hidden={1})
    life = kernel.begin(70)
    watch = kernel.make_watch()
    for _ in range(4):
        kernel.look_after(watch, 2)
    assert kernel.ended == []
    kernel.hidden.clear()
    kernel.look_after(watch, 2)
    kernel.look_after(watch, 2)
    assert kernel.ended == [life]


def test_without_such_sockets_there_is_nothing_to_look_at() -> None:
    kernel = FakeKernel(held={1: set()})
    watch = kernel.make_watch()
    kernel.look_after(watch, 2)
    assert kernel.looks == 0
    kernel.begin(70)
    for _ in range(4):
        kernel.look_after(watch, 2)
    assert (kernel.looks, kernel.lives) == (2, [])


def test_looks_that_take_long_are_rare() -> None:
    """A fiftieth of a processor at most; more when there is no room for new connections."""
    kernel = FakeKernel(held={1: {70}}, look_seconds=0.5)
    kernel.begin(70)
    watch = kernel.make_watch()
    for _ in range(1000):
        kernel.look_after(watch, 0.1)
    assert 3 <= kernel.looks <= 5
    kernel.looks = 0
    for _ in range(1000):
        kernel.unfollowed_size += 1
        kernel.look_after(watch, 0.1)
    assert 20 <= kernel.looks <= 60


def test_a_kernel_that_cannot_is_asked_once() -> None:
    kernel = FakeKernel(held={1: set()}, refuses=True)
    kernel.begin(70)
    watch = kernel.make_watch()
    for _ in range(9):
        kernel.look_after(watch, 2)
    assert kernel.looks == 2
