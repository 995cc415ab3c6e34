"""What recording costs a process that is no target, for a system call."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, pair_ratios, ratio
from benchmarks.observers import OFF, observed
from examples.processes import Process, ProcessError

CALLS = 2_000_000
MOST = 1.02  # with door A
#: Prints nanoseconds a call: of getppid, of a pipe's write and read, of a socket's send and recv.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
    long calls = atol(argv[1]);
    int ends[2], sockets[2];
    char bytes[64] = {0};
    if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
        return 1;
    double start = now();
    for (long n = 0; n < calls; n++)
        syscall(SYS_getppid);
    printf("getppid %f\n", (now() - start) / calls);
    start = now();
    for (long n = 0; n < calls / 8; n++)
        if (write(ends[1], bytes, 64) != 64 || read(ends[0], bytes, 64) != 64)
            return 1;
    printf("pipe %f\n", (now() - start) / (calls / 4));
    start = now();
    for (long n = 0; n < calls / 8; n++)
        if (send(sockets[1], bytes, 64, 0) != 64 || recv(sockets[0], bytes, 64, 0) != 64)
            return 1;
    printf("socket %f\n", (now() - start) / (calls / 4));
    return 0;
}
"""


def measure_bystander(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """The time of three kinds of call with a recorder of another process, to that without."""
    with tempfile.TemporaryDirectory(prefix="kebpf-bench-") as scratch:
        program = _build(Path(scratch))
        target = Process("idle target", [sys.executable, "-c", "import signal; signal.pause()"])
        try:
            found = _run_rounds(target.pid, program, [OFF, *doors], rounds, folder)
        finally:
            target.stop()
    for door in doors:
        for call, times in found[door].items():
            ratios = pair_ratios(times, found[OFF][call])
            most = MOST if door == "a" else None
            yield ratio(f"no target, {call}, door {door}: time", ratios, most=most)


def _run_rounds(
    target: int, program: Path, modes: list[str], rounds: int, folder: Path
) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {mode: {} for mode in modes}
    for number in range(rounds):
        turn = number % len(modes)
        for mode in modes[turn:] + modes[:turn]:
            with observed(mode, target, 0, folder / f"bystander-{mode}-{number}"):
                for call, time in _time_calls(program).items():
                    found[mode].setdefault(call, []).append(time)
    return found


def _time_calls(program: Path) -> dict[str, float]:
    done = subprocess.run([program, str(CALLS)], capture_output=True, text=True, check=True)
    return {name: float(time) for name, time in map(str.split, done.stdout.splitlines())}


def _build(folder: Path) -> Path:
    source, program = folder / "calls.c", folder / "calls"
    source.write_text(SOURCE)
    try:
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ProcessError(f"the calling program cannot be built: {error}") from None
    return program
