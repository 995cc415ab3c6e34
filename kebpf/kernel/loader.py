"""Compiles and loads BPF programs with bcc in a process of its own, and hands over descriptors.

Run by whichever interpreter can import bcc, as a plain script: it imports the standard library
and bcc only, so that LLVM is never resident in the recorder and kebpf itself can live in any
virtual environment.  The request comes as JSON on standard input; the answer goes as JSON, with
the descriptors as SCM_RIGHTS, to the Unix socket whose number is the only argument.

    {"source": "<folder>/door_a.c", "shim": "<folder>", "flags": ["-DOFF_…=…"],
     "programs": {"on_sock_send_length": {"type": 17, "attach_type": -1}},
     "maps": ["events"], "tail_calls": {"continuations": ["continue_ingress", …]}}
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import sys
from pathlib import Path

_INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)
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
    answer = {"programs": list(programs), "maps": list(maps)}
    return answer, [program.fd for program in programs.values()] + list(maps.values())


def main() -> int:
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
