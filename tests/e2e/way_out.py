"""`python -m tests.e2e.way_out COMMAND…` in a new network namespace: what leaves while it runs.

Prints as JSON the command's exit status and how many frames for the hosts of the test arrived at
the far end of the way out, before and after one that was sent to see that they do arrive.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from tests.kernel.leaving import ALL_FRAMES, HOST, WAY_OUT

NETWORK = bytes((198, 51, 100))
WAIT_S = 10


def count_frames(far: socket.socket, wait_s: float) -> int:
    """The frames to the test's network that have come, of which the first is waited for."""
    frames = 0
    while True:
        far.settimeout(0 if frames else wait_s)
        try:
            frame = far.recv(2048)
        except (TimeoutError, BlockingIOError):
            return frames
        frames += frame[12:14] == b"\x08\x00" and frame[30:33] == NETWORK


def main() -> None:
    """Lays the way out, runs the command, counts."""
    for line in WAY_OUT.splitlines():
        if line:
            subprocess.run(["ip", *line.split()], check=True)
    subprocess.run(["ip", "route", "add", "default", "via", HOST, "dev", "out"], check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES)) as far:
        far.bind(("far", ALL_FRAMES))
        done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False)
        left = count_frames(far, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"x", (HOST, 9))
        seen = {"status": done.returncode, "output": done.stdout + done.stderr}
        sys.stdout.write(json.dumps({**seen, "left": left, "probe": count_frames(far, WAIT_S)}))


if __name__ == "__main__":
    main()
