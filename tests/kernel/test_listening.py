"""Which sockets listen, against the sockets themselves."""

from __future__ import annotations

import os
import socket

from kebpf.kernel.listening import ListeningSocket, ListeningSockets


def list_ours(sockets: ListeningSockets, *inodes: int) -> list[ListeningSocket]:
    return [one for one in sockets.list() if one.inode in inodes]


def test_a_socket_is_listed_for_as_long_as_it_listens() -> None:
    sockets = ListeningSockets()
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.3", 0))
            inode = os.fstat(server.fileno()).st_ino
            assert list_ours(sockets, inode) == []
            server.listen()
            host, port = server.getsockname()
            expected = ListeningSocket(host, port, inode)
            assert list_ours(sockets, inode) == [expected]
        assert list_ours(sockets, inode) == []
    finally:
        sockets.close()


def test_all_families_and_addresses() -> None:
    sockets = ListeningSockets()
    try:
        with (
            socket.create_server(("0.0.0.0", 0)) as four,
            socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
            socket.create_connection(("127.0.0.1", four.getsockname()[1])),
        ):
            both = (four, six)
            inodes = [os.fstat(one.fileno()).st_ino for one in both]
            found = {(one.host, one.port) for one in list_ours(sockets, *inodes)}
            assert found == {one.getsockname()[:2] for one in both}
    finally:
        sockets.close()
