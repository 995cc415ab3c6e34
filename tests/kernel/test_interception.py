"""What arrives at two sockets when all that is sent is intercepted; the callers are ordinary."""

from __future__ import annotations

import pytest

from tests.kernel.rootless_runs import run_inside, skip_unless_reachable

pytestmark = pytest.mark.kernel

SETTING = """
from kebpf.replay.doors import open_stream_door, open_datagram_door
from kebpf.kernel.interception import OWN_MARK
INET, INET6 = socket.AF_INET, socket.AF_INET6
streams = {family: open_stream_door(family) for family in (INET, INET6)}
datagrams = {family: open_datagram_door(family) for family in (INET, INET6)}
for door in (*streams.values(), *datagrams.values()): door.settimeout(10)
def connect(host, port, mark=0):
    caller = socket.socket(INET6 if ":" in host else INET)
    caller.settimeout(10)
    if mark: caller.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    caller.connect((host, port))
    return caller
"""


@pytest.fixture(autouse=True)
def _reachable() -> None:
    skip_unless_reachable()


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.53", "127.0.0.53"),
        ("2001:db8::5", "2001:db8::5"),
        ("::1", "::1"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("fd00::7", "fd00::7"),
    ],
)
def test_a_connection_to_anywhere_arrives_as_asked_for(host: str, seen: str) -> None:
    code = f"""{SETTING}
caller = connect({host!r}, 5432)
accepted, peer = streams[INET6 if ":" in {seen!r} else INET].accept()
caller.sendall(b"to"); assert accepted.recv(9) == b"to"
accepted.sendall(b"fro"); assert caller.recv(9) == b"fro"
accepted.close(); assert caller.recv(9) == b""
print(json.dumps([caller.getpeername()[:2], peer[1] == caller.getsockname()[1]]))
"""
    found = run_inside(code)
    assert found == [[host, 5432], True]


def test_the_accepted_end_is_the_destination() -> None:
    code = f"""{SETTING}
found = []
for host in ("10.0.0.5", "127.0.0.1", "2001:db8::5"):
    caller = connect(host, 6379)
    accepted, _ = streams[caller.family].accept()
    found.append(accepted.getsockname()[:2])
print(json.dumps(found))
"""
    assert run_inside(code) == [["10.0.0.5", 6379], ["127.0.0.1", 6379], ["2001:db8::5", 6379]]


def test_own_ports_are_left_alone_on_loopback_only() -> None:
    """At once, not when somebody has noticed them; the same port elsewhere is another's."""
    code = f"""{SETTING}
own = socket.create_server(("0.0.0.0", 8000)); own.settimeout(10)
own6 = socket.create_server(("::1", 8006), family=INET6); own6.settimeout(10)
first = connect("127.0.0.1", 8000)
taken, _ = own.accept()
six = connect("::1", 8006)
taken6, _ = own6.accept()
taken.sendall(b"own"); assert first.recv(9) == b"own"
taken6.sendall(b"own6"); assert six.recv(9) == b"own6"
other = connect("10.0.0.5", 8000)
accepted, _ = streams[INET].accept()
print(json.dumps(accepted.getsockname()))
"""
    assert run_inside(code) == ["10.0.0.5", 8000]


def test_a_marked_connection_reaches_a_port_on_any_address() -> None:
    """So the recorded requests reach an application that listens on an address of its host."""
    code = f"""{SETTING}
own = socket.create_server(("10.1.2.3", 8000)); own.settimeout(10)
marked = connect("10.1.2.3", 8000, OWN_MARK)
taken, _ = own.accept()
taken.sendall(b"own"); assert marked.recv(9) == b"own"
other = connect("10.1.2.3", 8000)
accepted, _ = streams[INET].accept()
print(json.dumps(accepted.getsockname()))
"""
    assert run_inside(code) == ["10.1.2.3", 8000]


@pytest.mark.parametrize(
    ("host", "is_connected"),
    [("10.0.0.2", True), ("10.0.0.2", False), ("127.0.0.53", True), ("2001:db8::2", True)],
)
def test_datagrams_come_with_their_destination(host: str, is_connected: bool) -> None:
    code = f"""{SETTING}
from kebpf.replay.doors import _read_address
caller = socket.socket(INET6 if ":" in {host!r} else INET, socket.SOCK_DGRAM)
if {is_connected}:
    caller.connect(({host!r}, 53)); caller.send(b"q")
else:
    caller.sendto(b"q", ({host!r}, 53))
data, ancillary, _, source = datagrams[caller.family].recvmsg(100, 100)
is_same = source[1] == caller.getsockname()[1]
print(json.dumps([data.decode(), _read_address(ancillary[0][2]), is_same]))
"""
    assert run_inside(code) == ["q", [host, 53], True]
