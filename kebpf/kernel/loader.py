"""Compiles and loads BPF programs with bcc in a process of its own, and hands over descriptors.

Run by whichever interpreter can import bcc, as a plain script: it imports the standard library
and bcc only, so that LLVM is never resident in the recorder and kebpf itself can live in any
virtual environment.  The request comes as JSON on standard input; the answer goes as JSON, with
the descriptors as SCM_RIGHTS, to the Unix socket whose number is the only argument.

    {"source": "<folder>/door_a.c", "shim": "<folder>", "flags": ["-DOFF_…=…"],
     "programs": {"on_sock_send_length": {"type": 17, "attach_type": -1}},
     "maps": ["events"], "tail_calls": {"continuations": ["continue_ingress", …]},
     "is_kept": true}

The answer names what the descriptors are of; if it is to be kept, it also holds the instructions
and what kebpf/kernel/compiled.py needs besides to load them without bcc.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import re
import signal
import socket
import struct
import sys
from pathlib import Path

_INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)
_INSTRUCTION = struct.Struct("=BBhi")
_LOAD_IMMEDIATE = 0x18  # two instructions long
_MAP_SOURCES = (1, 2)
_MADE_BY = re.compile(r"/\S*lib(?:bcc|bpf|clang|LLVM)[^/\s]*\.so\S*$", re.MULTILINE)
_SHAPE = {
    "map_type": "kind",
    "key_size": "key_size",
    "value_size": "value_size",
    "max_entries": "entries",
    "map_flags": "flags",
}
_SET_PDEATHSIG = 1  # prctl(2)
_ANY_KERNEL_VERSION = 0x061200  # bcc wants one; nothing loaded here depends on it


def expand(path: Path, seen: set[Path]) -> str:
    """The source with its own headers in place: bcc rewrites map calls in one file only."""
    if path in seen:
        return ""
    seen.add(path)
    text = path.read_text()
    body = _INCLUDE.sub(lambda match: expand(path.parent / match.group(1), seen), text)
    return f'#line 1 "{path.name}"\n{body}\n'


def load(request: dict) -> tuple[dict, list[int]]:  # type: ignore[type-arg]
    """Compiles, loads, and wires tail calls; gives the names and descriptors in one order."""
    os.environ["BCC_KERNEL_SOURCE"] = request["shim"]
    os.environ["BCC_LINUX_VERSION_CODE"] = str(_ANY_KERNEL_VERSION)
    from bcc import BPF

    text = expand(Path(request["source"]), set())
    module = BPF(text=text, cflags=request["flags"])
    programs = {
        name: module.load_func(name, want["type"], attach_type=want["attach_type"])
        for name, want in request["programs"].items()
    }
    for table, names in request["tail_calls"].items():
        for index, name in enumerate(names):
            module[table][ctypes.c_int(index)] = ctypes.c_int(programs[name].fd)
    maps = {name: module[name].map_fd for name in request["maps"]}
    answer: dict = {"programs": list(programs), "maps": list(maps)}  # type: ignore[type-arg]
    if request["is_kept"]:
        answer["compiled"] = describe(module, request["programs"])
    return answer, [program.fd for program in programs.values()] + list(maps.values())


def describe(module, programs: dict) -> dict | None:  # type: ignore[no-untyped-def, type-arg]
    """What was compiled, for `Compiled.of_answer`; nothing if it refers to more than maps."""
    from bcc.libbcc import lib

    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]
    lib.bpf_table_name.restype = lib.bpf_module_license.restype = ctypes.c_char_p
    lib.bpf_table_name.argtypes = lib.bpf_table_fd_id.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    tables = {
        lib.bpf_table_fd_id(module.module, index): lib.bpf_table_name(module.module, index).decode()
        for index in range(lib.bpf_num_tables(module.module))
    }
    places = {descriptor: place for place, descriptor in enumerate(tables)}
    code = {}
    for name, want in programs.items():
        placed = place_maps(module.dump_func(name.encode()), places)
        if placed is None:
            return None
        code[name] = [want["type"], want["attach_type"], base64.b64encode(placed).decode()]
    return {
        "programs": code,
        "maps": {name: read_shape(descriptor) for descriptor, name in tables.items()},
        "terms": lib.bpf_module_license(module.module).decode(),
        "compiler": list_compiler(),
    }


def place_maps(code: bytes, places: dict[int, int]) -> bytes | None:
    """The instructions with the places of maps in their list where their descriptors are."""
    made, at = bytearray(code), 0
    while at < len(made):
        operation, registers, offset, number = _INSTRUCTION.unpack_from(made, at)
        is_long = operation == _LOAD_IMMEDIATE
        if is_long and registers >> 4:
            if registers >> 4 not in _MAP_SOURCES or number not in places:
                return None
            _INSTRUCTION.pack_into(made, at, operation, registers, offset, places[number])
        at += _INSTRUCTION.size * (2 if is_long else 1)
    return bytes(made)


def read_shape(descriptor: int) -> dict[str, int]:
    """How a map was made, as the kernel says it."""
    text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return {name: int(fields[field], 0) for field, name in _SHAPE.items()}


def list_compiler() -> list[list[str | int]]:
    """The libraries that compiled it: path, size, time of change in nanoseconds."""
    paths = sorted(set(_MADE_BY.findall(Path("/proc/self/maps").read_text())))
    statuses = [(path, Path(path).stat()) for path in paths]
    return [[path, status.st_size, status.st_mtime_ns] for path, status in statuses]


def main() -> int:
    # Compiling for nobody would only take the processor from others.
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    channel = socket.socket(fileno=int(sys.argv[1]))
    request = json.load(sys.stdin)
    try:
        answer, descriptors = load(request)
    except ImportError as error:
        answer, descriptors = {"error": "bcc", "text": str(error)}, []
    except Exception as error:  # noqa: BLE001 - bcc raises bare Exception; the parent reports it
        answer, descriptors = {"error": "load", "text": str(error)}, []
    socket.send_fds(channel, [json.dumps(answer).encode()], descriptors)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # bcc's own clean-up would only take time: descriptors close with the process


if __name__ == "__main__":
    sys.exit(main())
