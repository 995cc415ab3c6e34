"""As much of io_uring(7) as it takes to receive or send once; run as ``uring.py PORT HOW``.

With a number it sends, and so many bytes behind that by a call of its own.  With ``read`` or
``write`` it receives:
the receive is submitted while there is nothing to receive.  The kernel does it later, when the
thread is within another call: a read of a pipe, or a write to the very same socket.
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
SEND, RECV = 26, 27  # IORING_OP_SEND, IORING_OP_RECV
GETEVENTS = 1  # IORING_ENTER_GETEVENTS
RINGS_AT, ENTRIES_AT = 0, 0x10000000  # IORING_OFF_SQ_RING, IORING_OFF_SQES
ENTRY_SIZE = 64
MUCH = 8_000_000  # bytes: more than fits between two sockets

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
        self._submit(RECV, sock, buffer, 0)

    def send(self, sock: socket.socket, buffer: ctypes.Array[ctypes.c_char]) -> None:
        """Submits, and waits until some of it was sent."""
        self._submit(SEND, sock, buffer, 1)

    def _submit(
        self, operation: int, sock: socket.socket, buffer: ctypes.Array[ctypes.c_char], wait: int
    ) -> None:
        address = ctypes.addressof(buffer)
        entry = struct.pack("=BBHiQQII", operation, 0, 0, sock.fileno(), 0, address, len(buffer), 0)
        self._entries[: len(entry)] = entry
        self._rings[self._array : self._array + 4] = bytes(4)
        self._rings[self._tail : self._tail + 4] = struct.pack("=I", 1)
        _check(_libc.syscall(ENTER, self.descriptor, 1, wait, GETEVENTS * wait, None, 0))

    @property
    def is_complete(self) -> bool:
        return bool(struct.unpack_from("=I", self._rings, self._completed)[0])

    @property
    def result(self) -> int:
        """Bytes received or sent."""
        number: int = struct.unpack_from("=i", self._rings, self._results + 8)[0]
        return number


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def send(port: str, tail_size: int) -> None:
    """A head, a body by io_uring, a tail; then it reads to the end."""
    received = 0
    ring, body = Ring(), ctypes.create_string_buffer(b"by io_uring " * 10_000)
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        sock.sendall(b"ten bytes:")
        ring.send(sock, body)
        if tail_size:
            sock.sendall(bytes(tail_size))
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(10_000):
            received += len(data)
    sys.stdout.write(json.dumps({"sent": ring.result, "received": received}) + "\n")


def main(port: str, how: str) -> None:
    sys.stdin.readline()
    if how.isdigit():
        send(port, int(how))
    else:
        receive(port, how)


def receive(port: str, other_call: str) -> None:
    """While it is in another call."""
    reading, writing = os.pipe()
    ring, buffer = Ring(), ctypes.create_string_buffer(100)

    def watch() -> None:
        while not ring.is_complete:
            threading.Event().wait(0.001)
        os.write(writing, b"not from the socket")
        sys.stdout.write("complete\n")
        sys.stdout.flush()

    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        ring.receive(sock, buffer)
        watching = threading.Thread(target=watch)
        watching.start()
        if other_call == "read":
            os.read(reading, 100)  # the peer sends meanwhile
        else:
            sock.sendall(bytes(MUCH))  # the peer sends, and does not read
        watching.join()
        sock.sendall(buffer.raw[: ring.result])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(100):
            pass
    sys.stdout.write(json.dumps({"result": ring.result}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
