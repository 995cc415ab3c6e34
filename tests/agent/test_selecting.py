"""Which processes a target is, against groups, programs and ports that are really there."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.agent.config import TargetConfig
from kebpf.agent.programs import Program, read_program
from kebpf.agent.selecting import Selector, make_selector
from kebpf.kernel.cgroup import find_cgroup2_mount, remove_cgroup
from tests.agent.builders import WAITING, running


@contextlib.contextmanager
def selecting(kind: str, pattern: str) -> Iterator[Selector]:
    selector = make_selector(TargetConfig("x", kind, pattern))
    try:
        yield selector
    finally:
        selector.close()


def is_found(kind: str, pattern: str, program: Program) -> bool:
    with selecting(kind, pattern) as selector:
        return finds(selector, program)


def finds(selector: Selector, program: Program) -> bool:
    """As it is asked: by a look at all, or about one."""
    listed, matches = program.pid in set(selector.list()), selector.matches(program)
    assert listed or not matches
    return matches


@pytest.fixture
def group() -> Iterator[Path]:
    folder = find_cgroup2_mount() / f"kebpf-select-{os.getpid()}.slice"
    below = folder / "shop@1.service"
    below.mkdir(parents=True)
    try:
        yield below
    finally:
        remove_cgroup(folder)


@pytest.mark.kernel
def test_by_unit_and_group(group: Path) -> None:
    with running(sys.executable, "-c", WAITING) as program:
        wanted = {
            ("unit", "shop@1.service"): True,
            ("unit", "shop@*.service"): True,
            ("unit", group.parent.name): True,
            ("unit", "shop.service"): False,
            ("unit", "hop@1.service"): False,
            ("cgroup", f"/{group.parent.name}/shop@*"): True,
            ("cgroup", f"/{group.parent.name}"): True,
            ("cgroup", "/shop@1.service"): False,
        }
        assert not is_found("unit", "shop@1.service", program)
        (group / "cgroup.procs").write_text(str(program.pid))
        assert {one: is_found(*one, program) for one in wanted} == wanted


@pytest.mark.kernel
def test_what_systemd_runs_beside_a_service_is_not_the_service(group: Path) -> None:
    control = group / ".control"
    control.mkdir()
    with running(sys.executable, "-c", WAITING) as program:
        (control / "cgroup.procs").write_text(str(program.pid))
        with selecting("unit", "shop@1.service") as selector:
            assert not selector.matches(program)


def test_by_executable_link_and_script(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(WAITING)
    link = tmp_path / "venv-python"
    link.symlink_to(sys.executable)
    with running(link, "app.py", folder=tmp_path) as program:
        wanted = {
            os.path.realpath(sys.executable): True,
            str(Path(os.path.realpath(sys.executable)).parent / "python*"): True,
            str(link): True,
            str(script): True,
            str(tmp_path / "*.py"): True,
            str(tmp_path): False,
            str(tmp_path / "*"): True,
            "/*/app.py": False,
        }
        assert {one: is_found("executable", one, program) for one in wanted} == wanted


LISTENING = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    f"print(s.getsockname()[1], flush=True); {WAITING}"
)


def test_by_listening_port() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        program, own = read_program(process.pid), read_program(os.getpid())
        assert program is not None and own is not None
        with selecting("listen", f"1, {port}") as selector:
            assert finds(selector, program)
            assert not finds(selector, own)
            process.kill()
            process.wait()
            assert list(selector.list()) == []
            with socket.create_server(("127.0.0.1", int(port))):
                assert finds(selector, own)
