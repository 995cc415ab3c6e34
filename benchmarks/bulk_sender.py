"""A target that sends bulk: waits for SIGUSR1, then sends so many bytes a second to a port."""

from __future__ import annotations

import signal
import socket
import sys
import time

_PAUSE_SECONDS = 0.0005


def send(port: int, speed: float, seconds: float, call_size: int) -> tuple[int, float]:
    """Bytes sent, and the seconds it took; ``speed`` in bytes per second."""
    chunk, sent = bytes(range(256)) * (call_size // 256), 0
    with socket.create_connection(("127.0.0.1", port)) as peer:
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            if sent < now * speed:
                peer.sendall(chunk)
                sent += len(chunk)
            else:
                time.sleep(_PAUSE_SECONDS)
        return sent, time.monotonic() - begun


def main() -> None:
    """The command line: port, bytes per second, seconds, bytes a call."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("ready", flush=True)
    signal.sigwait({signal.SIGUSR1})
    port, speed, seconds, call_size = sys.argv[1:]
    print(*send(int(port), float(speed), float(seconds), int(call_size)), flush=True)


if __name__ == "__main__":
    main()
