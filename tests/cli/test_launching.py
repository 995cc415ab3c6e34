"""What is recorded of a command before it runs; its running is tested with `kebpf.cli.record`."""

from __future__ import annotations

import shutil

import pytest

from kebpf.cli.launching import describe_command
from kebpf.kernel.processes import ProcessFacts

HELD = ProcessFacts(7, 1, "python3", ["python3", "-I", "exec_child.py"], "/usr/bin/python3", False)


@pytest.mark.parametrize(
    ("words", "name", "executable"),
    [
        (["/opt/shop/bin/serve", "--port", "1"], "serve", ""),
        (["sh", "run.sh"], "sh", shutil.which("sh")),
        (["/bin/sh", "-c", "A=1 exec env B=2 python3 -m shop.main"], "shop.main", "/bin/sh"),
        (["/bin/sh", "-c", "A=1"], "sh", "/bin/sh"),
        (["python3", "/srv/shop.py"], "shop", shutil.which("python3")),
        (["/bin/sh", "-c", "uvicorn shop:app --port 1"], "uvicorn", "/bin/sh"),
        (["/bin/sh", "-c", "x", "y"], "sh", "/bin/sh"),
        (["/bin/sh", "-c", " "], "sh", "/bin/sh"),
    ],
)
def test_it_is_called_what_it_will_be(words: list[str], name: str, executable: str) -> None:
    facts = describe_command(HELD, words)
    assert (facts.name, facts.command, facts.executable) == (name, words, executable)
    assert (facts.pid, facts.parent) == (7, 1)
