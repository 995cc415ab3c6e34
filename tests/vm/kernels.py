"""Runs the tests that need a kernel on those of several releases; writes what came of it.

``python -m tests.vm.kernels [KERNEL…]``: a kernel is named as in `KERNELS`, all of them unless
given; names of `SELECTIONS` likewise.  A run of all of it writes the page, any other prints a
table.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.images import find_image, list_missing
from tests.vm.machine import Machine
from tests.vm.payload import PYTHON, SOURCE, pack_files
from tests.vm.releases import RELEASES, ROOT, Kernel

PAGE = ROOT / "docs" / "reference" / "kernels-tried.md"
_OF_KERNEL = ("bpf", "ring", "programs", "compiled", "uprobe", "connected", "redirect", "cgroup")
_OF_LIVES = ("bulk", "endings", "processes", "threads")
#: What is run on each kernel; calls and lives are the two halves of the capture matrix.
SELECTIONS: dict[str, tuple[str, ...]] = {
    "maps and programs": tuple(f"tests/kernel/test_{name}.py" for name in _OF_KERNEL),
    "probes": ("tests/capture/test_probes.py",),
    "calls": tuple(f"tests/capture/matrix/test_{name}.py" for name in ("calls", "endpoints")),
    "lives": tuple(f"tests/capture/matrix/test_{name}.py" for name in _OF_LIVES),
    "doors": ("tests/e2e/test_doors.py",),
    "the shop, recorded and replayed": ("tests/e2e/test_shop_replay.py",),
    "harmless": ("tests/e2e/test_harmless.py", "-k", "first_line or amid"),
}
SILENCE_SECONDS = 900.0
KERNELS: dict[str, tuple[str, Kernel]] = {
    f"{kernel.suite} on {name}" if kernel.suite != name else name: (name, kernel)
    for name, release in RELEASES.items()
    for kernel in release.kernels
}


@dataclass(slots=True)
class Counts:
    """Of one selection; ``failures`` are the names of the tests."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """``31 passed, 2 skipped``."""
        failed = f"**{len(self.failures)} failed**" if self.failures else ""
        skipped = f"{self.skipped} skipped" if self.skipped else ""
        return ", ".join(filter(None, (f"{self.passed} passed", failed, skipped)))


@dataclass(slots=True)
class Trial:
    """One kernel with the release it ran in."""

    kernel: str
    release: str
    bcc: str
    door: str
    counts: dict[str, Counts] = field(default_factory=dict)


def read_counts(report: str) -> Counts:
    """From JUnit's XML."""
    counts = Counts()
    for case in ElementTree.fromstring(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            counts.failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in kinds:
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def try_kernel(name: str, files: Path, selections: list[str]) -> Trial:
    """Boots it and runs everything.  Raises `MachineError`."""
    release, kernel = KERNELS[name]
    with Machine(find_image(release), kernel, files) as machine:
        machine.check(f"echo /{SOURCE} >$(echo /opt/tests/lib/python3.*/site-packages)/kebpf.pth")
        machine.check("ip link set lo up")
        trial = Trial(
            machine.check("uname -r").strip(),
            machine.check(". /etc/os-release && echo $PRETTY_NAME").strip(),
            machine.check("/usr/bin/python3 -c 'import bcc; print(bcc.__version__)'").strip(),
            machine.check(_DOOR).strip(),
        )
        for selection in selections:
            sys.stderr.write(f"{name} ({trial.kernel}): {selection}\n")
            trial.counts[selection] = _run_selection(machine, SELECTIONS[selection])
            sys.stderr.write(f"  {trial.counts[selection].describe()}\n")
    return trial


_DOOR = (
    f'{PYTHON} -c "from kebpf.capture.probes import choose_door; from kebpf.kernel.btf import Btf;'
    ' print(choose_door(Btf.load()).value)"'
)


def _run_selection(machine: Machine, words: tuple[str, ...]) -> Counts:
    options = "-q -p no:cacheprovider --timeout 600 --tb short --junit-xml /root/report.xml"
    command = f"rm -f /root/report.xml; cd /{SOURCE} && {PYTHON} -u -m pytest {options}"
    machine.run(f"{command} {shlex.join(words)}", SILENCE_SECONDS, is_shown=True)
    return read_counts(machine.check("cat /root/report.xml"))


def make_table(trials: list[Trial]) -> str:
    """A row a kernel."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.counts))
    rows = [["kernel", "release", "bcc", "door", *names]]
    for trial in trials:
        counts = [trial.counts[name].describe() if name in trial.counts else "" for name in names]
        rows.append([trial.kernel, trial.release, trial.bcc, trial.door, *counts])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


_HEAD = """<!-- written by `make test-kernels` -->

# Kernels tried

`make test-kernels` boots Debian's cloud kernels in qemu, each with the root file system and the bcc
of its release, and runs in them what needs a kernel. A test that is skipped lacks something there:
door A, above all, which Linux has from 6.3 on.

"""


def main(words: list[str]) -> int:
    """1 when a test failed on a kernel, 2 for a name it does not know, 3 when the host lacks
    something."""
    unknown = [word for word in words if word not in KERNELS and word not in SELECTIONS]
    if unknown:
        known = ", ".join((*KERNELS, *SELECTIONS))
        sys.stderr.write(f"unknown: {', '.join(unknown)}; there are: {known}\n")
        return 2
    missing = list_missing()
    if missing:
        sys.stderr.write(f"not to be had here: apt-get install {' '.join(missing)}\n")
        return 3
    selections = [word for word in words if word in SELECTIONS] or list(SELECTIONS)
    names = [word for word in words if word in KERNELS] or list(KERNELS)
    with tempfile.TemporaryDirectory(prefix="kebpf-") as scratch:
        files = pack_files(Path(scratch) / "files.tar")
        trials = [try_kernel(name, files, selections) for name in names]
    table = make_table(trials)
    sys.stdout.write(table)
    if (names, selections) == (list(KERNELS), list(SELECTIONS)):
        PAGE.write_text(_HEAD + table, encoding="utf-8")
    failures = [
        test for one in trials for counts in one.counts.values() for test in counts.failures
    ]
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
