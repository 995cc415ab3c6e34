"""What watches a target during a load: nothing, kebpf by either door, or what else people use."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.usage import list_family
from examples.processes import Process, ProcessError, find_free_port, find_program
from examples.recorder import start_recorder

OFF = "off"
TCPDUMP = "tcpdump"
STRACE = "strace"
MITMPROXY = "mitmproxy"
MITMPROXY_TLS = "mitmproxy (TLS)"
MITMPROXY_VERSION = "11.0.2"

_INSTALL_SECONDS = 600.0


@dataclass(frozen=True)
class Observer:
    """Who watches: its processes now, and the port the load is to go to."""

    port: int
    process: Process | None = None

    @property
    def pids(self) -> list[int]:
        return [] if self.process is None else list_family(self.process.pid)


@contextmanager
def observed(mode: str, target: int, port: int, folder: Path) -> Iterator[Observer]:
    """Watches process ``target``, which serves ``port``; what is recorded is thrown away.

    ``mode`` is a door of kebpf (``a``, ``b``) or one of the names above.
    """
    folder.mkdir()
    if mode == OFF:
        yield Observer(port)
        return
    process, its_port = _start(mode, target, port, folder)
    try:
        yield Observer(its_port, process)
    finally:
        process.stop(signal.SIGTERM if mode in (TCPDUMP, STRACE) else signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def find_missing(mode: str) -> str:
    """Why a mode cannot be measured here; empty if it can."""
    if mode in (TCPDUMP, STRACE):
        return "" if shutil.which(mode, path="/usr/bin:/usr/sbin:/bin:/sbin") else "not installed"
    if mode in (MITMPROXY, MITMPROXY_TLS):
        return "" if _install_mitmproxy() else "cannot be installed"
    return ""


def _start(mode: str, target: int, port: int, folder: Path) -> tuple[Process, int]:
    if mode == TCPDUMP:
        return _start_tcpdump(port, folder), port
    if mode == STRACE:
        return _start_strace(target, folder), port
    if mode == MITMPROXY:
        return _start_mitmproxy(f"http://127.0.0.1:{port}", folder)
    if mode == MITMPROXY_TLS:
        return _start_mitmproxy(f"https://127.0.0.1:{port}", folder)
    return start_recorder(folder / "set", "--pid", str(target), "--door", mode), port


def _start_tcpdump(port: int, folder: Path) -> Process:
    options = ["-i", "lo", "-s", "0", "-B", "16384", "-w", str(folder / "capture")]
    process = Process("tcpdump", [find_program("tcpdump"), *options, f"port {port}"])
    process.wait_for(lambda line: "listening on" in line)
    return process


def _start_strace(target: int, folder: Path) -> Process:
    options = ["-f", "-e", "trace=network", "-o", str(folder / "trace"), "-p", str(target)]
    process = Process("strace", [find_program("strace"), *options])
    process.wait_for(lambda line: "attached" in line)
    return process


def _mitmproxy_folder() -> Path:
    return Path(__file__).parents[1] / "build" / f"mitmproxy-{MITMPROXY_VERSION}"


def _install_mitmproxy() -> bool:
    """Into an environment of its own, once."""
    folder = _mitmproxy_folder()
    program = folder / "bin" / "mitmdump"
    if program.exists():
        return True
    steps: Sequence[Sequence[str | Path]] = (
        [sys.executable, "-m", "venv", folder],
        [folder / "bin" / "pip", "install", "--quiet", f"mitmproxy=={MITMPROXY_VERSION}"],
    )
    for step in steps:
        done = subprocess.run(
            list(map(str, step)), capture_output=True, timeout=_INSTALL_SECONDS, check=False
        )
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return False
    return program.exists()


def _start_mitmproxy(url: str, folder: Path, replay: Sequence[str] = ()) -> tuple[Process, int]:
    """As a reverse proxy that keeps what it saw, which is how it would record, or replays."""
    its_port = find_free_port()
    mode = ["--mode", f"reverse:{url}", "--ssl-insecure"]
    options = [*mode, *(replay or ("-w", str(folder / "flows")))]
    where = ["--listen-host", "127.0.0.1", "--listen-port", str(its_port)]
    settings = ["--set", f"confdir={folder}", "--set", "flow_detail=0"]
    process = Process(
        "mitmproxy", [_mitmproxy_folder() / "bin" / "mitmdump", *options, *where, *settings]
    )
    try:
        process.wait_for(lambda line: "listening at" in line)
    except ProcessError:
        process.stop(signal.SIGKILL)
        raise
    return process, its_port


@contextmanager
def replaying_mitmproxy(port: int, folder: Path) -> Iterator[int]:
    """mitmproxy's server replay of one request to ``port``, and the port it serves."""
    folder.mkdir()
    url = f"http://127.0.0.1:{port}"
    process, its_port = _start_mitmproxy(url, folder)
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{its_port}/", timeout=30).read()
    finally:
        process.stop(signal.SIGINT)
    options = ["--server-replay", str(folder / "flows"), "--set", "server_replay_reuse=true"]
    process, its_port = _start_mitmproxy(url, folder, options)
    try:
        yield its_port
    finally:
        process.stop(signal.SIGKILL)
