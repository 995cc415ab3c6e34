"""All code is loaded before the assembler is confined: in a process that shows what comes later."""

from __future__ import annotations

import subprocess
import sys

from examples.recorder import with_sources

CODE = """
import os, sys, tempfile, traceback
from pathlib import Path
import kebpf.recording.assembler
from kebpf.recording.channel import Begin
from kebpf.recording.loading import load_everything
from kebpf.recording.pipeline import Pipeline
from kebpf.recording.recovery import recover_all
from kebpf.recording.writer import TestSetWriter
from tests.fuzz.seeds import list_seeds
from tests.fuzz.targets import list_targets
from tests.recording.shop import HEAD, Shop

targets = list_targets()
load_everything()
before = set(sys.modules)
redactor = Begin({}, {"rules": {}, "key": "00" * 32}).make_redactor()
with tempfile.TemporaryDirectory() as folder:
    writer = TestSetWriter(Path(folder, "set"), durable=True)
    pipeline = Pipeline(writer, "set", HEAD, redactor=redactor)
    pipeline.feed(b"".join(Shop().open().serve().close().records))
    pipeline.mark(1.0, 0, 0)
    writer.sync()
    pipeline.finish(None, 1.0, 0)
    recover_all(Path(folder))
for name, data in list_seeds():
    targets[name](data)
try:
    raise ValueError("€")
except ValueError:
    traceback.format_exc()
came = sorted(set(sys.modules) - before)
assert not came, came
"""


def test_nothing_is_imported_any_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=with_sources({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
