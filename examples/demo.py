"""Records the running shop, replays it with everything it depends on off, finds a regression.

Run by `make demo`.  Exits 0 when the same version passes and the broken one fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.processes import Process, ProcessError, exiting_on_signals
from examples.services import EXAMPLES, Services
from examples.shop.bugs import BUGS
from examples.shop.drive import drive

NAME = "demo"
RECORD_STOP_SECONDS = 60.0
TEST_SECONDS = 150.0


def say(text: str) -> None:
    """One line of the demo itself."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def echo(line: str) -> None:
    """One line of what kebpf says."""
    print(f"   {line}", flush=True)


def find_kebpf() -> Path:
    """The command beside the interpreter that runs this.  Raises `ProcessError`."""
    program = Path(sys.executable).parent / "kebpf"
    if not program.exists():
        raise ProcessError(f"{program} is missing; run make setup")
    return program


@contextmanager
def recordings_folder(wanted: Path | None) -> Iterator[Path]:
    """Where to record: the folder asked for, which stays, or a passing one."""
    if wanted is not None:
        yield wanted.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="kebpf-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def record(services: Services, folder: Path, rounds: int) -> None:
    """Records the shop, which already runs and has served requests, while it is driven."""
    say("The shop runs; some customers have been there already")
    shop = services.start_shop()
    drive(services.shop_url, is_quiet=True)
    before = services.count_calls()
    say(f"kebpf record --pid {shop.pid} -o {folder} --name {NAME}")
    options = ["--pid", str(shop.pid), "-o", str(folder), "--name", NAME]
    recorder = Process("kebpf record", [find_kebpf(), "record", *options], on_line=echo)
    try:
        recorder.wait_for(lambda line: line.startswith("recording"))
        driven = drive(services.shop_url, rounds=rounds, concurrency=2, seed=2, is_quiet=True)
    finally:
        status = recorder.stop(signal.SIGINT, RECORD_STOP_SECONDS)
    if status != 0 or driven["unexpected"]:
        raise ProcessError(f"kebpf record ended with {status}, the drive with {driven}")
    calls = {name: count - before[name] for name, count in services.count_calls().items()}
    say("For comparison, what the servers counted themselves meanwhile")
    echo(f"requests sent to the shop: {driven['requests']}")
    echo(f"calls of the shop: {calls['postgres']} to PostgreSQL, {calls['redis']} to Redis,")
    echo(f"{calls['http']} to the rates service")
    shop.stop()


def replay(services: Services, folder: Path, bug: str = "") -> int:
    """Runs `kebpf test` on the recording; gives its exit status."""
    command = services.shop_command
    setting = f"SHOP_BUG={bug} " if bug else ""
    say(f"{setting}kebpf test -c '{command}' {folder / NAME}")
    environment = {**services.shop_environment, "SHOP_BUG": bug}
    test = Process(
        "kebpf test",
        [find_kebpf(), "test", "-c", command, folder / NAME],
        environment=environment,
        folder=EXAMPLES,
        on_line=echo,
    )
    try:
        return test.wait(TEST_SECONDS)
    finally:
        test.stop(signal.SIGINT)


def run(folder: Path, bug: str, rounds: int) -> int:
    """The whole demo; 0 when everything came out as it must."""
    begun = time.monotonic()
    with Services() as services:
        record(services, folder, rounds)
        services.stop_backends()
        say("The shop, the rates service, PostgreSQL and Redis are stopped")
        unchanged = replay(services, folder)
        if unchanged != 0:
            say(f"FAILED: the version that was recorded must pass (0), kebpf said {unchanged}")
            return 1
        say(f"The next version of the shop has a regression: {BUGS[bug].what}")
        broken = replay(services, folder, bug)
    if broken != 1:
        say(f"FAILED: the regression must be found (1), kebpf said {broken}")
        return 1
    say(f"As it must be: 0 for the same version, 1 for the broken one ({bug}).")
    echo(f"{time.monotonic() - begun:.0f} seconds")
    return 0


def main() -> int:
    """The command line; 0 as it must be, 1 not so, 3 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="keep the recording in this folder")
    parser.add_argument("--bug", choices=list(BUGS), default="lost_insert")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("recording needs root: sudo, or make demo", file=sys.stderr)
        return 3
    try:
        with exiting_on_signals(), recordings_folder(given.output) as folder:
            return run(folder, given.bug, given.rounds)
    except ProcessError as error:
        print(f"the demo cannot go on: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
