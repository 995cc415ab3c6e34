"""Ports that an application needs and that something else of this host holds."""

from __future__ import annotations

import socket
from collections.abc import Iterable


def find_held_port(ports: Iterable[int]) -> int | None:
    """The first of the ports on which something listens, in the network of this process."""
    for port in ports:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("", port))
            except OSError:
                return port
    return None
