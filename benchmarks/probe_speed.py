"""What a probe on a user-space function costs by the instruction it is on: a call's time beside
the same call without, x86-64 only.  Alone: ``python -m benchmarks.probe_speed``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, pair_ratios, ratio, show_figure, spread
from examples.processes import ProcessError
from kebpf.kernel.bpf import KPROBE, load_program
from kebpf.kernel.uprobe import attach_uprobe

CALLS = 100_000
#: Prints where its functions are; then for each line "function" the nanoseconds of a call of it.
SOURCE = r"""
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FUNCTION(name, body) \
    __asm__(".text\n.type " #name ", @function\n" #name ":\n" body); \
    void name(void)

FUNCTION(on_push, "push %rbp\nmov %rsp, %rbp\npop %rbp\nret\n");
FUNCTION(on_nop, "nop\npush %rbp\npop %rbp\nret\n");
FUNCTION(on_sub, "sub $24, %rsp\nadd $24, %rsp\nret\n");
FUNCTION(on_endbr, "endbr64\npush %rbp\npop %rbp\nret\n");
FUNCTION(on_mov, "mov %rsp, %rax\npush %rbp\npop %rbp\nret\n");

static struct {
    const char *name;
    void (*function)(void);
} all[] = {
    {"push", on_push}, {"nop", on_nop}, {"sub", on_sub}, {"endbr64", on_endbr}, {"mov", on_mov},
};

static double time_calls(void (*function)(void)) {
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (long n = 0; n < CALLS; n++)
        function();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    return ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / CALLS;
}

int main(void) {
    char line[64];
    for (unsigned n = 0; n < sizeof all / sizeof *all; n++)
        printf("%s %p\n", all[n].name, (void *)all[n].function);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        for (unsigned n = 0; n < sizeof all / sizeof *all; n++)
            if (!strncmp(line, all[n].name, strlen(all[n].name)))
                printf("%f\n", time_calls(all[n].function));
        fflush(stdout);
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Placement:
    """Where a probe is: on which function, how far behind its start, whether a uretprobe."""

    name: str
    function: str
    distance: int = 0
    is_return: bool = False


PLACEMENTS = (
    Placement("push", "push"),
    Placement("nop", "nop"),
    Placement("sub rsp", "sub"),
    Placement("endbr64", "endbr64"),
    Placement("push behind endbr64", "endbr64", distance=4),
    Placement("mov", "mov"),
    Placement("ret", "push", distance=5),
    Placement("push, uretprobe", "push", is_return=True),
)
# mov r0, 0; exit: a program that does nothing, so that what is left is the probe's own cost.
NOTHING = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)


class Subject:
    """The calling program, running."""

    def __init__(self, process: subprocess.Popen[str], program: Path) -> None:
        self._process = process
        self._program = program
        self._offsets: dict[str, int] = {}
        while (line := self._read()) != "ready":
            name, address = line.split()
            self._offsets[name] = self._offset_of(int(address, 16))

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ProcessError("the calling program has ended")
        return line.rstrip()

    def _offset_of(self, address: int) -> int:
        """In the file, which is what a probe is placed by."""
        maps = Path(f"/proc/{self._process.pid}/maps").read_text()
        for start, end, offset in re.findall(r"^(\w+)-(\w+) \S+ (\w+)", maps, re.MULTILINE):
            if int(start, 16) <= address < int(end, 16):
                return address - int(start, 16) + int(offset, 16)
        raise ProcessError("the calling program is not where it says")

    def time(self, function: str) -> float:
        """Nanoseconds of its processor a call."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{function}\n")
        self._process.stdin.flush()
        return float(self._read())

    @contextmanager
    def probed(self, bpf_program: int, placement: Placement) -> Iterator[None]:
        """For as long as the block."""
        offset = self._offsets[placement.function] + placement.distance
        path, pid = str(self._program), self._process.pid
        probe = attach_uprobe(bpf_program, path, offset, pid, placement.is_return)
        try:
            yield
        finally:
            os.close(probe)


@contextmanager
def running_subject(folder: Path) -> Iterator[Subject]:
    """Built and running.  Raises `ProcessError`."""
    source, program = folder / "calls.c", folder / "calls"
    source.write_text(SOURCE)
    options = ["-O2", "-fcf-protection=none", f"-DCALLS={CALLS}"]
    try:
        subprocess.run(["gcc", *options, "-o", program, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ProcessError(f"the calling program cannot be built: {error}") from None
    pipe = subprocess.PIPE
    with subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Subject(process, program)
        finally:
            process.kill()


def measure_probes(rounds: int) -> Iterator[Figure]:
    """What each placement adds to a call, and how that is to one on ``push``."""
    if platform.machine() != "x86_64":
        yield Figure("probe by placement", "measured on x86-64 only")
        return
    added: dict[str, list[float]] = {placement.name: [] for placement in PLACEMENTS}
    bpf_program = load_program("nothing", KPROBE, -1, NOTHING, "GPL")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="kebpf-bench-") as scratch,
            running_subject(Path(scratch)) as subject,
        ):
            for _ in range(rounds):
                for placement in PLACEMENTS:
                    without = subject.time(placement.function)
                    with subject.probed(bpf_program, placement):
                        added[placement.name].append(subject.time(placement.function) - without)
    finally:
        os.close(bpf_program)
    yield spread("probe on push: adds to a call", added["push"], "ns")
    for placement in PLACEMENTS[1:]:
        ratios = pair_ratios(added[placement.name], added["push"])
        yield ratio(f"probe on {placement.name}: to push", ratios)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for figure in measure_probes(parser.parse_args().rounds):
        print(show_figure(figure), flush=True)


if __name__ == "__main__":
    main()
