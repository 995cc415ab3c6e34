"""A port that something listens on is found."""

from __future__ import annotations

import socket

from kebpf.replay.ports import find_held_port


def test_the_first_that_is_held() -> None:
    with socket.socket() as listening, socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        free = unbound.getsockname()[1]
        unbound.close()
        assert find_held_port([free]) is None
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        held = listening.getsockname()[1]
        assert find_held_port([free, held]) == held
