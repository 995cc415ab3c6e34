"""A real cgroup, redirected: the callers' view, the responder's, and that nothing stays behind."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kebpf.kernel import redirect as redirect_module
from kebpf.kernel.cgroup import Cgroup, make_cgroup
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import ProgramCache
from kebpf.kernel.redirect import ListeningSocket, Redirect, RedirectPorts

pytestmark = pytest.mark.kernel

CALLERS = Path(__file__).with_name("callers.py")
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@dataclass
class Responder:
    """Four sockets; every call is answered with where it meant to go."""

    stack: ExitStack
    redirect: Redirect | None = None
    sockets: dict[tuple[int, int], socket.socket] = field(default_factory=dict)

    def open(self) -> RedirectPorts:
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (STREAM, DATAGRAM):
                sock = self.stack.enter_context(socket.socket(family, kind))
                sock.bind((LOOPBACK[family], 0))
                if kind == STREAM:
                    sock.listen()
                self.sockets[family, kind] = sock
        ports = {key: sock.getsockname()[1] for key, sock in self.sockets.items()}
        return RedirectPorts(
            ports[socket.AF_INET, STREAM],
            ports[socket.AF_INET, DATAGRAM],
            ports[socket.AF_INET6, STREAM],
            ports[socket.AF_INET6, DATAGRAM],
        )

    def serve(self, stop: int) -> None:
        """Until ``stop`` is readable."""
        kinds = {sock.fileno(): (sock, kind) for (_, kind), sock in self.sockets.items()}
        while True:
            readable = select.select([*kinds, stop], [], [])[0]
            if stop in readable:
                return
            for number in readable:
                sock, kind = kinds[number]
                if kind == STREAM:
                    self._answer_stream(sock.accept()[0])
                else:
                    data, source = sock.recvfrom(1000)
                    assert data == b"hello"
                    sock.sendto(self._find("udp", source), source)

    def _answer_stream(self, sock: socket.socket) -> None:
        with sock:
            source = sock.getpeername()
            assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
            sock.sendall(self._find("tcp", source))

    def _find(self, transport: str, source: tuple[Any, ...]) -> bytes:
        assert self.redirect is not None
        found = self.redirect.original_destination(transport, source[0], source[1])
        return json.dumps(found).encode()


@dataclass
class Bench:
    """A cgroup whose calls go to the responder."""

    cgroup: Cgroup
    redirect: Redirect

    def run(self, name: str, *arguments: object, inside: bool = True) -> Any:
        procs = str(self.cgroup.path / "cgroup.procs") if inside else "-"
        command = [sys.executable, "-I", str(CALLERS), procs, name, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def make_bench(cache: ProgramCache | None = None) -> Iterator[Bench]:
    with ExitStack() as stack:
        cgroup = stack.enter_context(make_cgroup())
        responder = Responder(stack)
        redirect = Redirect(cgroup.path, responder.open(), cache)
        stack.callback(redirect.close)
        responder.redirect = redirect
        stopped, stop = os.pipe()
        thread = threading.Thread(target=responder.serve, args=(stopped,))
        thread.start()
        try:
            yield Bench(cgroup, redirect)
        finally:
            os.write(stop, b"x")
            thread.join()
            os.close(stop)
            os.close(stopped)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with make_bench() as made:
        yield made


# destination → what the caller must see as its peer; TEST-NET addresses, which lead nowhere
DESTINATIONS = {
    ("192.0.2.7", 5432): "192.0.2.7",
    ("127.0.0.1", 1): "127.0.0.1",
    ("2001:db8::7", 443): "2001:db8::7",
    ("::1", 2): "::1",
    ("::ffff:192.0.2.8", 6379): "::ffff:192.0.2.8",
}


def meant(host: str, port: int) -> list[object]:
    """What the responder is to be told: mapped addresses as the IPv4 ones that they are."""
    return [host.removeprefix("::ffff:"), port]


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one[0])
def test_streams(bench: Bench, destination: tuple[str, int]) -> None:
    (report,) = bench.run("call_streams", *destination)
    answer, peer, own = report
    assert json.loads(answer) == meant(*destination)
    assert peer == [DESTINATIONS[destination], destination[1]]
    assert own[0].removeprefix("::ffff:") in ("127.0.0.1", "::1")


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one[0])
def test_datagrams(bench: Bench, destination: tuple[str, int]) -> None:
    """Resolvers throw away answers that do not come from where they asked."""
    connected, unconnected = bench.run("call_datagrams", *destination)
    expected = [DESTINATIONS[destination], destination[1]]
    assert json.loads(connected[0]) == meant(*destination)
    assert connected[1:] == [expected, expected]
    assert json.loads(unconnected[0]) == meant(*destination)
    assert unconnected[1:] == [None, expected]


def test_many_at_once_keep_their_destinations(bench: Bench) -> None:
    destinations = [(f"192.0.2.{number}", 1000 + number) for number in range(1, 100)]
    reports = bench.run("call_streams", *(part for one in destinations for part in one))
    assert [json.loads(answer) for answer, *_ in reports] == [list(one) for one in destinations]


@pytest.mark.parametrize(("host", "far"), [("127.0.0.1", "192.0.2.9"), ("::1", "2001:db8::9")])
def test_its_own_port_is_left_alone(bench: Bench, host: str, far: str) -> None:
    report = bench.run("listen_and_call", host, far)
    own, elsewhere = report["answers"]
    assert own == "from itself"
    assert report["peers"] == [[host, report["port"]], True]
    assert json.loads(elsewhere) == [far, report["port"]]


def test_others_are_left_alone(bench: Bench) -> None:
    """The same call from outside the cgroup meets a socket that is really there, or none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done: list[object] = []
        caller = threading.Thread(
            target=lambda: done.append(bench.run("call_streams", "127.0.0.1", port, inside=False))
        )
        caller.start()
        with server.accept()[0] as sock:
            source = sock.getpeername()
            sock.sendall(b"really here")
            caller.join()
    assert done == [[["really here", ["127.0.0.1", port], list(source)]]]
    assert bench.redirect.original_destination("tcp", *source) is None
    assert bench.redirect.original_destination("udp", *source) is None


def take_listening(redirect: Redirect, count: int) -> list[ListeningSocket]:
    """The next ``count``, waiting for each."""
    found: list[ListeningSocket] = []
    while len(found) < count:
        assert select.select([redirect], [], [], 10)[0]
        found += redirect.take_listening()
    return found


def test_who_listens_is_told(bench: Bench) -> None:
    bench.redirect.take_listening()
    with socket.create_server(("127.0.0.1", 0)):  # not in the cgroup
        report = bench.run("listen", "127.0.0.1", "0.0.0.0", "::1", "::")
        found = take_listening(bench.redirect, 5)
    four, every_four, six, every_six = report["ports"]
    places = [(one.host, one.port) for one in found]
    assert places == [
        ("127.0.0.1", four),
        ("0.0.0.0", every_four),
        ("::1", six),
        ("::", every_six),
        ("127.0.0.1", report["child_port"]),
    ]
    assert found[4].pid == report["child"]
    assert len({one.pid for one in found[:4]}) == 1
    assert bench.redirect.take_listening() == []


def test_nothing_leaves() -> None:
    """In a network with a way out, at whose other end every frame is counted."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.kernel.leaving"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["outside"] == [0] * 6 and seen["frames"] == 6, seen
    assert seen["inside"] == [errno.EPERM] * 6
    assert seen["answered"] == [["198.51.100.7", 80], ["2001:db8:1::7", 80]]
    assert sorted(map(tuple, seen["refused"])) == [
        (1, "198.51.100.7", 1),
        (6, "198.51.100.7", 1),
        (6, "2001:db8:1::7", 1),
        (17, "198.51.100.7", 1),
        (17, "2001:db8:1::7", 1),
        (58, "2001:db8:1::7", 1),
    ]


def list_programs() -> set[int]:
    text = subprocess.run(["bpftool", "-j", "prog", "list"], capture_output=True, check=True).stdout
    return {program["id"] for program in json.loads(text)}


def list_attached(folder: Path) -> set[int]:
    """The programs of a cgroup, by bpftool."""
    command = ["bpftool", "-j", "cgroup", "show", str(folder)]
    text = subprocess.run(command, capture_output=True, check=True).stdout
    return {program["id"] for program in json.loads(text.strip() or "[]")}


def await_gone(programs: set[int]) -> None:
    """The kernel frees programs after a grace period."""
    for _ in range(200):
        if not programs & list_programs():
            return
        time.sleep(0.02)
    raise AssertionError(f"programs stay behind: {programs & list_programs()}")


def test_nothing_stays_behind() -> None:
    with make_cgroup() as cgroup:
        redirect = Redirect(cgroup.path, RedirectPorts(1, 2, 3, 4))
        attached = list_attached(cgroup.path)
        assert len(attached) == 10
        redirect.close()
        redirect.close()
        assert list_attached(cgroup.path) == set()
    await_gone(attached)


def test_it_ends_with_its_process() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from kebpf.kernel.redirect import Redirect, RedirectPorts\n"
        "redirect = Redirect(Path(sys.argv[1]), RedirectPorts(1, 2, 3, 4))\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with make_cgroup() as cgroup:
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(cgroup.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        attached = list_attached(cgroup.path)
        assert len(attached) == 10
        holder.kill()
        holder.communicate()
        await_gone(attached)
        assert list_attached(cgroup.path) == set()


def test_what_is_no_cgroup_is_a_sentence(tmp_path: Path) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(KernelError, match="the kernel refuses to redirect a cgroup"):
        Redirect(tmp_path, RedirectPorts(1, 2, 3, 4))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_what_was_compiled_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler the second time, for other ports and another cgroup."""
    cache = ProgramCache(tmp_path / "kept")
    with make_cgroup() as cgroup:
        Redirect(cgroup.path, RedirectPorts(1, 2, 3, 4), cache).close()
    assert cache.check() == 1
    monkeypatch.setattr(redirect_module, "load_programs", None)
    with make_bench(cache) as bench:
        assert bench.run("call_streams", "192.0.2.7", 80)[0][1] == ["192.0.2.7", 80]
