"""Fuzzes with coverage as the guide: ``python -m tests.fuzz [--seconds N] [TARGET…]``.

Every target gets a process of its own and its share of the time.  What reached new code is kept
in ``build/fuzz/TARGET``, and so is what made one fail, which then belongs into the corpus.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
FOUND = Path("build/fuzz")
LONGEST_SECONDS = 10  # for one input
MOST_MEMORY = 2048  # MiB


def fuzz_one(name: str, seconds: int) -> None:
    """In this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["kebpf"]):
        from tests.fuzz.targets import list_targets

        target = list_targets()[name]
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    options = (
        f"-max_total_time={seconds}",
        f"-timeout={LONGEST_SECONDS}",
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-artifact_prefix={found}/",
        "-max_len=4096",
        "-print_final_stats=1",
    )
    atheris.Setup([sys.argv[0], *options, str(found), *seeds], target)
    atheris.Fuzz()


def fuzz_all(names: list[str], seconds: int) -> int:
    """How many targets failed."""
    failed = []
    for name in names:
        words = [sys.executable, "-m", "tests.fuzz", "--one", name]
        share = max(1, seconds // len(names))
        done = subprocess.run([*words, "--seconds", str(share)], check=False)
        if done.returncode != 0:
            failed.append(name)
    sys.stdout.write(f"{len(names) - len(failed)} passed, {len(failed)} failed\n")
    for name in failed:
        sys.stdout.write(f"{name}: what made it fail is in {FOUND / name}\n")
    return len(failed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", "600")))
    parser.add_argument("--one")
    options = parser.parse_args()
    if options.one:
        fuzz_one(options.one, options.seconds)
        return 0
    from tests.fuzz.targets import list_targets

    return fuzz_all(options.targets or sorted(list_targets()), options.seconds)


if __name__ == "__main__":
    sys.exit(main())
