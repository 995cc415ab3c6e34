"""One thread acts as another user, the others do not; the kernel says who is who."""

from __future__ import annotations

import os
import re
import socket
import struct
from pathlib import Path

import pytest

from kebpf.kernel.acting import act_as

pytestmark = pytest.mark.kernel

NOBODY = 65534


def read_ids(folder: str) -> tuple[list[str], list[str]]:
    """Real, effective, saved and file system ids: of the user and of the group (proc(5))."""
    text = Path(f"/proc/{folder}/status").read_text()
    found = dict(re.findall(r"^(Uid|Gid):\t(.*)$", text, re.MULTILINE))
    return found["Uid"].split(), found["Gid"].split()


def test_only_the_thread_that_does_it_is_another_user() -> None:
    inside, outside = act_as(
        NOBODY, NOBODY, lambda: (read_ids("thread-self"), read_ids(f"self/task/{os.getpid()}"))
    )
    assert [ids[1] for ids in inside] == [str(NOBODY)] * 2
    assert outside == read_ids("thread-self") == (["0"] * 4, ["0"] * 4)


def test_a_server_sees_the_other_user() -> None:
    """As SO_PEERCRED, which is what a JVM looks at."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(b"\0kebpf-test-acting")
        server.listen()
        act_as(NOBODY, NOBODY, lambda: client.connect(b"\0kebpf-test-acting"))
        accepted, _ = server.accept()
        with accepted:
            option = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("=iII", option) == (os.getpid(), NOBODY, NOBODY)


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(PermissionError):
        act_as(NOBODY, NOBODY, Path("/etc/shadow").read_bytes)
