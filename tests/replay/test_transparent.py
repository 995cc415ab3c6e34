"""Steering in a network without root: who listens is told, and a responder serves any address."""

from __future__ import annotations

import pytest

from tests.kernel.rootless_runs import run_inside, skip_unless_reachable

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _reachable() -> None:
    skip_unless_reachable()


LISTENERS = """
import asyncio
from kebpf.kernel.interception import OWN_MARK
from kebpf.replay.stages import ResponderPorts
from kebpf.replay.transparent import TransparentSteering
program = (
    "import os, socket, sys\\n"
    "one = socket.create_server(('127.0.0.1', 8001))\\n"
    "two = socket.create_server(('::', 8002), family=socket.AF_INET6)\\n"
    "sys.stdin.readline()\\n"
    "three = socket.create_server(('10.1.2.3', 8003))\\n"
    "sys.stdin.readline()\\n"
)
async def main():
    steering = TransparentSteering()
    doors = steering.listen([])
    steering.attach(network, ResponderPorts(1, 1))
    words = [sys.executable, "-c", program]
    child = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE)
    found, watch = [], steering.watch_listening()
    async with asyncio.timeout(30):
        for count in (2, 1):
            for _ in range(count):
                found.append(await anext(watch))
            child.stdin.write(b"\\n")
        await child.wait()
    await watch.aclose()
    steering.close()
    for door in doors: door.close()
    known = {one.pid == child.pid and one.mark == OWN_MARK for one in found}
    print(json.dumps([sorted([one.host, one.port] for one in found), list(known)]))
asyncio.run(main())
"""


def test_listening_is_told_of_the_applications_sockets_only() -> None:
    found, are_its_own = run_inside(LISTENERS)
    assert found == [["10.1.2.3", 8003], ["127.0.0.1", 8001], ["::", 8002]]
    assert are_its_own == [True]


RESPONDING = """
import asyncio
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from kebpf.replay.transparent import TransparentSteering
from tests.replay.sets import PROTOCOLS, SetInMemory, make_matcher
QUESTION = "0707010000010000000000000377777702657800" "00010001"  # A of www.ex
def call():
    with socket.create_connection(("10.0.0.7", 8001), 10) as caller:
        caller.sendall(b"GET /rates HTTP/1.1\\r\\nHost: rates\\r\\n\\r\\n")
        return caller.recv(9).decode()
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(10)
        caller.sendto(bytes.fromhex(QUESTION), ("10.0.0.2", 53))
        return caller.recvfrom(512)[1]
async def main():
    matcher = make_matcher(SetInMemory())
    matcher.begin_case(None, 1)
    steering = TransparentSteering()
    for _ in range(2):
        responder = Responder(steering, matcher, Routes(), PROTOCOLS)
        ports = await responder.start()
        answers = [await asyncio.to_thread(call), await asyncio.to_thread(ask)]
        problems = [problem.text for problem in responder.take_problems()]
        await responder.close()
        steering.close()
    calls = sorted({f"{one.destination} {one.kind}" for one in matcher.end_case(2 * 10**18)})
    print(json.dumps([answers, problems, calls]))
asyncio.run(main())
"""


def test_a_responder_knows_what_was_asked_for() -> None:
    """Twice, one after the other: a second start of the application finds the doors free."""
    answers, problems, calls = run_inside(RESPONDING)
    assert problems == []
    assert answers[1] == ["10.0.0.2", 53]
    assert calls == ["10.0.0.2:53/udp extra", "10.0.0.7:8001 extra"]


RECORDED = """
import asyncio
from kebpf.recording.model import Endpoint
from kebpf.replay.stages import ResponderPorts
from kebpf.replay.transparent import TransparentSteering
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, source): self.transport.sendto(data, source)
known = [
    Endpoint("tcp", "10.0.0.7", 5432), Endpoint("tcp", "127.0.0.1", 6379),
    Endpoint("tcp", "2001:db8::7", 80), Endpoint("udp", "10.0.0.2", 53),
    Endpoint("udp", "10.0.0.3", 8125),
]
asked = [("10.0.0.7", 5432), ("127.0.0.1", 6379), ("::1", 6379), ("2001:db8::7", 80)]
names = [("10.0.0.2", 53), ("127.0.0.53", 53), ("10.0.0.3", 8125)]
others = [("10.0.0.8", 5432), ("2001:db8::8", 80)]
def connect(place):
    caller = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
    with caller:
        caller.settimeout(10)
        return caller.connect_ex(place)
def ask(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(10)
        caller.sendto(b"q", place)
        return list(caller.recvfrom(9)[1])
def send(place):
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"q", place)
async def main():
    steering = TransparentSteering(network.is_intercepted)
    doors = steering.listen(known)
    transports = steering.open_datagrams(Echo, known)
    steering.attach(network, ResponderPorts(1, 1))
    statuses = [await asyncio.to_thread(connect, place) for place in (*asked, *others)]
    answers = [await asyncio.to_thread(ask, place) for place in names]
    for place in others: send(place)
    refusals = [[one.protocol, one.host, one.packets] for one in steering.take_refusals()]
    steering.close()
    for one in (*doors, *transports): one.close()
    await asyncio.sleep(0)
    print(json.dumps([network.is_intercepted, statuses, answers, sorted(refusals)]))
asyncio.run(main())
"""


def test_without_interception_what_was_recorded_is_served_and_the_rest_told() -> None:
    is_intercepted, statuses, answers, refusals = run_inside(RECORDED, intercepts=False)
    assert not is_intercepted
    assert statuses == [0, 0, 0, 0, 111, 111]  # ECONNREFUSED
    assert answers == [["10.0.0.2", 53], ["127.0.0.53", 53], ["10.0.0.3", 8125]]
    hosts = ("10.0.0.8", "2001:db8::8")
    assert refusals == [[name, host, 1] for name in ("tcp", "udp") for host in hosts]
