"""The environment of commands whose JVMs report."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from kebpf.capture.javaattach import JAR
from kebpf.capture.javalaunch import add_agent

pytestmark = pytest.mark.kernel

NOBODY = 65534
START = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


def test_the_agent_is_told_who_records() -> None:
    with ExitStack() as stack:
        environment = add_agent({"PATH": "/bin"}, 0, 0, stack)
    option = f"-javaagent:{JAR}=pid={os.getpid()}:{START}"
    assert environment == {"PATH": "/bin", "JAVA_TOOL_OPTIONS": option}


def test_options_that_are_there_stay() -> None:
    with ExitStack() as stack:
        environment = add_agent({"JAVA_TOOL_OPTIONS": "-Xmx1g"}, 0, 0, stack)
    assert environment["JAVA_TOOL_OPTIONS"].endswith(f"pid={os.getpid()}:{START} -Xmx1g")


def test_a_path_with_a_space_is_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    jar = folder / JAR.name
    jar.write_bytes(JAR.read_bytes())
    with ExitStack() as stack:
        options = add_agent({}, 0, 0, stack, jar)["JAVA_TOOL_OPTIONS"]
    assert options == f'"-javaagent:{jar}=pid={os.getpid()}:{START}"'


def test_who_may_not_read_the_jar_is_given_a_copy_for_the_time(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    jar = secret / JAR.name
    jar.write_bytes(JAR.read_bytes())
    with ExitStack() as stack:
        options = add_agent({}, NOBODY, NOBODY, stack, jar)["JAVA_TOOL_OPTIONS"]
        copy = Path(options.removeprefix("-javaagent:").partition("=")[0])
        read = subprocess.run(["cat", copy], user=NOBODY, capture_output=True, check=True)
        assert read.stdout == JAR.read_bytes()
    assert not copy.parent.exists()
