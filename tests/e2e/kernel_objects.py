"""Which BPF objects are in the kernel, which of them a process holds.

Only ids are asked for: to look at an array of tail calls while its last holder ends, as bpftool
does with all maps, makes the kernel keep the empty array for good (its clearing is scheduled
twice and paid back once; seen on 6.18).
"""

from __future__ import annotations

import ctypes
import json
import platform
import re
import struct
import subprocess
from pathlib import Path

Objects = set[tuple[str, int]]

NEXT_ID_COMMANDS = {"prog": 11, "map": 12, "link": 31}  # enum bpf_cmd of linux/bpf.h
SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280}
_libc = ctypes.CDLL(None, use_errno=True)


def list_objects() -> Objects:
    """All programs, maps and links, by kind and id."""
    return {(kind, number) for kind in NEXT_ID_COMMANDS for number in _list_ids(kind)}


def _list_ids(kind: str) -> list[int]:
    found = []
    attr = ctypes.create_string_buffer(16)  # start id, next id, flags
    number = SYSCALL_NUMBERS[platform.machine()]
    while _libc.syscall(number, NEXT_ID_COMMANDS[kind], attr, len(attr)) == 0:
        following = struct.unpack_from("=I", attr, 4)[0]
        found.append(following)
        struct.pack_into("=II", attr, 0, following, 0)
    return found


def list_held(pid: int) -> Objects:
    """What a process holds by its descriptors."""
    held: Objects = set()
    for path in Path(f"/proc/{pid}/fdinfo").glob("*"):
        try:
            text = path.read_text()
        except OSError:  # closed meanwhile
            continue
        found = re.findall(r"^(\w+)_id:\s*(\d+)", text, re.MULTILINE)
        held |= {(kind, int(number)) for kind, number in found if kind in NEXT_ID_COMMANDS}
    return held


def holds_links(pid: int) -> bool:
    """Whether a process has probes attached."""
    return any(kind == "link" for kind, _ in list_held(pid))


def ask_bpftool(*words: str) -> list[dict[str, object]]:
    """What bpftool lists."""
    done = subprocess.run(["bpftool", "-j", *words], capture_output=True, check=True)
    found: list[dict[str, object]] = json.loads(done.stdout or "[]")
    return found
