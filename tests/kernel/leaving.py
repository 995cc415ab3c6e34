"""`python -m tests.kernel.leaving` in a new network namespace: what leaves it, and what does not.

Makes a way out (a veth pair with a neighbour that is not there), sends packets past the redirection
from a redirected cgroup and from outside it, counts the frames at the far end; prints JSON.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from tests.kernel.test_redirect import make_bench

HOST, HOST6 = "198.51.100.7", "2001:db8:1::7"
ALL_FRAMES = 0x0003  # ETH_P_ALL
PACKETS = 6
WAIT_S = 10
WAY_OUT = f"""
link set lo up
link add out type veth peer name far
addr add 198.51.100.1/24 dev out
addr add 2001:db8:1::1/64 dev out nodad
link set out up
link set far up
neigh add {HOST} lladdr 02:00:00:00:00:07 dev out
neigh add {HOST6} lladdr 02:00:00:00:00:07 dev out
"""


def count_frames(far: socket.socket) -> int:
    """Frames to the hosts: waits for those that must come, then takes what else is there."""
    hosts = socket.inet_aton(HOST), socket.inet_pton(socket.AF_INET6, HOST6)
    frames, far_enough = 0, WAIT_S
    while True:
        far.settimeout(far_enough)
        try:
            frame = far.recv(2048)
        except (TimeoutError, BlockingIOError):
            return frames
        frames += frame[30:34] == hosts[0] or frame[38:54] == hosts[1]
        far_enough = WAIT_S if frames < PACKETS else 0


def main() -> None:
    """Prints what each side saw."""
    for line in WAY_OUT.split("\n"):
        if line:
            subprocess.run(["ip", *line.split()], check=True)
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES)) as far,
        make_bench() as bench,
    ):
        far.bind(("far", ALL_FRAMES))
        calls = bench.run("call_streams", HOST, 80, HOST6, 80)
        seen = {
            "answered": [json.loads(answer) for answer, *_ in calls],
            "inside": bench.run("send_raw", HOST, HOST6),
            "outside": bench.run("send_raw", HOST, HOST6, inside=False),
            "frames": count_frames(far),
            "refused": [
                (one.protocol, one.host, one.packets) for one in bench.redirect.take_refusals()
            ],
        }
        assert bench.redirect.take_refusals() == []
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
