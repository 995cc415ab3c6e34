"""Records a client with the real server, runs it again on its mocks with the server off.

A program is run as ``START ROW FORM`` in the folder where it is installed, with the service's
place in its environment: ``PGHOST PGPORT PGUSER PGDATABASE``, ``REDIS_HOST REDIS_PORT`` or
``HTTP_HOST HTTP_PORT``.  It prints JSON lines and ends with status 0.  The forms are

- ``plain``    recorded with the real server: what it prints there is what it must always print
- any other    the same calls made in another way: the same lines from the recording of ``plain``
  (or, if the library itself shows them otherwise, the lines that it prints with a real server)
- ``changed``  the same lines; then one call with a value that was not recorded, and one more
  line: ``changed`` is the class of the error that the library raised, ``usable`` whether the
  connection still answers
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from examples.recorder import find_kebpf, with_sources
from tests.conformance.declaration import PLAIN, Row
from tests.e2e.kebpf_runs import Entry

PATIENCE_SECONDS = 60.0
INTO_FILE = ["sh", "-c", 'exec "$@" >"$CONFORMANCE_OUT"', "sh"]
_ANSWERED = re.compile(
    r"^kebpf: [\d,]+ calls? answered in .* s, (?:no|([\d,]+)) miss(?:es)?; "
    r"([\d,]+) of ([\d,]+) mocks? used$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Ran:
    """How one run of a program ended, what it printed, and what kebpf said of it."""

    status: int
    lines: list[str]
    said: str = field(repr=False)

    @property
    def calls(self) -> tuple[int, int, int]:
        """Misses, mocks used, mocks."""
        found = _ANSWERED.search(self.said)
        assert found is not None, self.said
        misses, used, mocks = (int((one or "0").replace(",", "")) for one in found.groups())
        return misses, used, mocks


@dataclass(frozen=True)
class Recorded:
    """A client's recording, and what it printed meanwhile."""

    path: Path
    ran: Ran
    summary: Entry
    environment: Mapping[str, str] = field(repr=False)


class Client:
    """The program of a row, where it is installed and where its output goes."""

    def __init__(self, row: Row, installed: Path, folder: Path) -> None:
        self.row = row
        self._installed = installed
        self._folder = folder
        folder.mkdir()

    def run(self, form: str, service: Mapping[str, str]) -> Ran:
        """Runs the program with the real server, nobody watching."""
        return self._run(form, "real", [], service)[1]

    def record(self, service: Mapping[str, str]) -> Recorded:
        """Runs the program in its plain form while it is recorded, from its start to its end."""
        path = self._folder / "set"
        words = [*find_kebpf(), "record", "-o", str(self._folder), "--name", path.name, "--json"]
        stdout, ran = self._run(PLAIN, "recorded", [*words, "--"], service)
        assert ran.status == 0 and "the command exited" not in ran.said, ran.said
        summary: Entry = json.loads(stdout.splitlines()[-1])
        return Recorded(path, ran, summary, service)

    def replay(self, form: str, recorded: Recorded) -> Ran:
        """Runs the program in a form on the mocks of its recording."""
        words = [*find_kebpf(), "mock", str(recorded.path), "--"]
        return self._run(form, "mock", words, recorded.environment)[1]

    def _run(
        self, form: str, how: str, prefix: list[str], service: Mapping[str, str]
    ) -> tuple[str, Ran]:
        out = self._folder / f"{form}.{how}"
        environment = with_sources({**service, **self.row.environment.environment})
        done = subprocess.run(
            [*prefix, *INTO_FILE, *self.row.command(form)],
            env={**os.environ, **environment, "CONFORMANCE_OUT": str(out)},
            cwd=self._installed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        lines = out.read_text(errors="surrogateescape").splitlines() if out.exists() else []
        return done.stdout, Ran(done.returncode, lines, done.stderr)
