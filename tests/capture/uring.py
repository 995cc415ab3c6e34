"""As much of io_uring(7) as it takes to receive once; run as ``uring.py PORT``.

The receive is submitted while there is nothing to receive.  The kernel does it later, when the
thread is within another call: a read of a pipe.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import threading

SETUP, ENTER = 425, 426
RECV = 27  # IORING_OP_RECV
RINGS_AT, ENTRIES_AT = 0, 0x10000000  # IORING_OFF_SQ_RING, IORING_OFF_SQES
ENTRY_SIZE = 64

_libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    """A ring of one entry; the layouts are those of linux/io_uring.h."""

    def __init__(self) -> None:
        parameters = ctypes.create_string_buffer(120)
        self.descriptor = _check(_libc.syscall(SETUP, 1, parameters))
        places = struct.unpack_from("=8I", parameters, 40)  # struct io_sqring_offsets
        self._tail, self._array = places[1], places[6]
        completions = struct.unpack_from("=8I", parameters, 80)  # struct io_cqring_offsets
        self._completed, self._results = completions[1], completions[5]
        self._rings = mmap.mmap(self.descriptor, mmap.PAGESIZE, offset=RINGS_AT)
        self._entries = mmap.mmap(self.descriptor, ENTRY_SIZE, offset=ENTRIES_AT)

    def receive(self, sock: socket.socket, buffer: ctypes.Array[ctypes.c_char]) -> None:
        """Submits; does not wait."""
        address = ctypes.addressof(buffer)
        entry = struct.pack("=BBHiQQII", RECV, 0, 0, sock.fileno(), 0, address, len(buffer), 0)
        self._entries[: len(entry)] = entry
        self._rings[self._array : self._array + 4] = bytes(4)
        self._rings[self._tail : self._tail + 4] = struct.pack("=I", 1)
        _check(_libc.syscall(ENTER, self.descriptor, 1, 0, 0, None, 0))

    @property
    def is_complete(self) -> bool:
        return bool(struct.unpack_from("=I", self._rings, self._completed)[0])

    @property
    def result(self) -> int:
        """Bytes received."""
        number: int = struct.unpack_from("=i", self._rings, self._results + 8)[0]
        return number


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main(port: str) -> None:
    sys.stdin.readline()
    reading, writing = os.pipe()
    ring, buffer = Ring(), ctypes.create_string_buffer(100)

    def let_go() -> None:
        while not ring.is_complete:
            threading.Event().wait(0.001)
        os.write(writing, b"not from the socket")

    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        ring.receive(sock, buffer)
        watching = threading.Thread(target=let_go)
        watching.start()
        sock.sendall(b"now")  # and the peer sends
        os.read(reading, 100)
        watching.join()
        sock.sendall(buffer.raw[: ring.result])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(100):
            pass
    sys.stdout.write(json.dumps({"result": ring.result}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
