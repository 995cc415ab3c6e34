"""Asks the loader process for programs and maps, and holds the descriptors that keep them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kebpf.kernel.compiled import Compiled
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import ProgramCache

_LOADER = Path(__file__).with_name("loader.py")
_MOST_DESCRIPTORS = 64
_MOST_ANSWER_SIZE = 1 << 20
_LOAD_TIMEOUT_SECONDS = 180  # of a host that emulates its processor; others take less than one
_COMPILING = ("loader.py", "programs.py", "offsets.py", "btf.py")  # decide what is compiled, too
_NAMED = "KEBPF_BCC_PYTHON"
_INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python")

BCC_HINT = (
    "install the distribution's package: `apt-get install python3-bpfcc` (Debian, Ubuntu) or "
    "`dnf install python3-bcc` (Fedora, RHEL); what PyPI calls bcc is another project"
)


@dataclass(frozen=True, slots=True)
class Program:
    """What to load a function as: bpf_prog_type and bpf_attach_type of linux/bpf.h."""

    kind: int
    attach_type: int = -1


@dataclass(slots=True)
class Loaded:
    """Descriptors of loaded programs and maps, by name; closing them unloads."""

    programs: dict[str, int] = field(default_factory=dict)
    maps: dict[str, int] = field(default_factory=dict)

    def close_programs(self, but: Container[str] = ()) -> None:
        """Links hold what is attached; the rest goes now, ``but`` for some."""
        for name in [name for name in self.programs if name not in but]:
            os.close(self.programs.pop(name))

    def close(self) -> None:
        self.close_programs()
        for descriptor in self.maps.values():
            os.close(descriptor)
        self.maps.clear()


def find_bpf_folder() -> Path:
    """Where the C sources are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "bpf", package.parent / "bpf"):
        if (folder / "events.h").is_file():
            return folder
    raise KernelError("kebpf's BPF sources are missing from this installation", "reinstall kebpf")


def _can_import_bcc(interpreter: str) -> str:
    """An empty string when it can, else why not."""
    code = "import sys; from bcc import BPF; BPF.load_func"
    try:
        run = subprocess.run(
            [interpreter, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError as error:
        return str(error.strerror)
    except subprocess.TimeoutExpired:
        return "importing bcc takes longer than 20 s"
    lines = run.stderr.strip().splitlines()
    return "" if run.returncode == 0 else (lines[-1] if lines else f"exit status {run.returncode}")


def list_interpreters() -> list[str]:
    """Interpreters that may have bcc, the likeliest first."""
    named = os.environ.get(_NAMED)
    return [named] if named else [*_INTERPRETERS, sys.executable]


@cache
def find_interpreter() -> str:
    """An interpreter that can import the right bcc.  Raises `KernelError`."""
    reasons = {}
    for interpreter in list_interpreters():
        reasons[interpreter] = _can_import_bcc(interpreter)
        if not reasons[interpreter]:
            return interpreter
    told = "; ".join(f"{interpreter}: {reason}" for interpreter, reason in reasons.items())
    raise KernelError(f"bcc is not to be had ({told})", BCC_HINT)


def load_programs(
    source: str,
    programs: Mapping[str, Program],
    maps: Sequence[str],
    flags: Sequence[str],
    tail_calls: Mapping[str, Sequence[str]] | None = None,
    keep: Callable[[Compiled], object] | None = None,
) -> Loaded:
    """Compiles ``bpf/<source>`` and loads the named programs.  Raises `KernelError`.

    ``keep`` is given what was compiled, where that can be loaded again.  The first interpreter
    that may have bcc is tried without asking first: asking costs as much as loading.
    """
    folder = find_bpf_folder()
    request = {
        "source": str(folder / source),
        "shim": str(folder / "shim"),
        "flags": [
            *flags,
            f"-DKEBPF_ARCH_{platform.machine().upper()}",
            f"-I{folder}",
            "-Wno-unused",
            "-g0",  # bcc asks for debugging information, which nothing here needs
        ],
        "programs": {
            name: {"type": wanted.kind, "attach_type": wanted.attach_type}
            for name, wanted in programs.items()
        },
        "maps": list(maps),
        "tail_calls": tail_calls or {},
        "is_kept": keep is not None,
    }
    first = list_interpreters()[0]
    answer, descriptors, output = _run_loader(first, request)
    if answer.get("error") == "bcc":
        answer, descriptors, output = _run_loader(find_interpreter(), request)
    if "error" in answer:
        raise KernelError(
            f"the kernel did not take the programs: {_last_words(output) or answer['text']}",
            "run `kebpf doctor` and report this with its output",
        )
    if keep is not None and answer.get("compiled"):
        keep(Compiled.of_answer(answer["compiled"]))
    return _name_descriptors(answer, descriptors)


def make_key(*parts: object) -> str:
    """A name for programs compiled from all of kebpf's sources, for this kernel, by ``parts``."""
    found = hashlib.sha256()
    folder, own = find_bpf_folder(), Path(__file__).parent
    for path in (*sorted(folder.rglob("*.[ch]")), *(own / name for name in _COMPILING)):
        content = path.read_bytes()
        found.update(f"{path.name} {len(content)}\n".encode())
        found.update(content)
    host = os.uname()
    found.update(json.dumps([host.release, host.version, host.machine, *parts]).encode())
    return found.hexdigest()


def load_kept(
    cache: ProgramCache,
    key: str,
    maps: Sequence[str],
    tail_calls: Mapping[str, Sequence[str]],
) -> Loaded | None:
    """What was kept under ``key``, loaded; ``None`` if there is nothing that can be.

    Nor if an interpreter was named for the compiler: then it is wanted.
    """
    content = None if os.environ.get(_NAMED) else cache.find(key)
    if content is None:
        return None
    try:
        compiled = Compiled.decode(content)
        if not compiled.is_of_this_compiler():
            return None
        found, all_maps = compiled.load(tail_calls)
    except (OSError, ValueError):
        return None  # the kernel refuses it, or it is not what was kept: compiled anew
    for name in set(all_maps).difference(maps):
        os.close(all_maps.pop(name))
    return Loaded(found, all_maps)


def _name_descriptors(answer: dict[str, Any], descriptors: list[int]) -> Loaded:
    loaded = Loaded()
    numbers = iter(descriptors)
    loaded.programs = {name: next(numbers) for name in answer["programs"]}
    loaded.maps = {name: next(numbers) for name in answer["maps"]}
    return loaded


def _last_words(output: str) -> str:
    """The line of the verifier or compiler that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("WARNING:")]
    errors = [line for line in lines if "error:" in line]
    told = errors[:1] or lines[-3:]
    return " / ".join(told)


@contextlib.contextmanager
def _socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def _run_loader(interpreter: str, request: dict[str, Any]) -> tuple[dict[str, Any], list[int], str]:
    with _socket_pair() as (ours, theirs):
        try:
            child = subprocess.Popen(
                [interpreter, "-I", str(_LOADER), str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                text=True,
            )
        except OSError as error:
            return {"error": "bcc", "text": f"{interpreter}: {error.strerror}"}, [], ""
        theirs.close()
        output = _communicate(child, json.dumps(request))
        payload, descriptors = _receive(ours)
    if not payload:
        text = f"{interpreter} ended without an answer (status {child.returncode})"
        return {"error": "load", "text": text}, [], output
    return json.loads(payload), descriptors, output


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """The answer with its descriptors, none of which a child may inherit.

    ``socket.recv_fds`` takes flags for that and does not pass them on (seen in Python 3.11).
    """
    room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array("i").itemsize)
    payload, messages, _, _ = channel.recvmsg(_MOST_ANSWER_SIZE, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, data in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return payload, descriptors.tolist()


def _communicate(child: subprocess.Popen[str], text: str) -> str:
    try:
        return child.communicate(text, timeout=_LOAD_TIMEOUT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        return child.communicate()[0]
