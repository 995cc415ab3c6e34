"""The trials on the running kernel leave nothing behind; bcc is told from its namesake."""

from __future__ import annotations

import os
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.checks import Status
from kebpf.capture.preflight import Preflight
from kebpf.capture.probes import Door, choose_door
from kebpf.capture.trials import KernelTrials
from kebpf.kernel.btf import VMLINUX_BTF, Btf
from kebpf.kernel.cgroup import find_cgroup2_mount
from kebpf.kernel.programs import find_interpreter
from tests.capture.builders import make_host


@pytest.fixture
def needs_kernel() -> None:
    if os.geteuid() != 0 or not VMLINUX_BTF.exists():
        pytest.skip("needs root and a kernel with BTF")


@pytest.fixture
def other_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An interpreter that has a ``bcc`` which is another project, as PyPI's is."""
    venv.create(tmp_path / "env", with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    package = tmp_path / "env" / "lib" / version / "site-packages" / "bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 1\n")
    monkeypatch.setenv("KEBPF_BCC_PYTHON", str(tmp_path / "env" / "bin" / "python"))
    find_interpreter.cache_clear()
    yield package
    find_interpreter.cache_clear()


@pytest.mark.kernel
@pytest.mark.usefixtures("needs_kernel")
class TestOnThisKernel:
    def test_both_doors_load_and_are_gone_again(self) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        doors = {Door.B, choose_door(Btf.load())}
        assert all(KernelTrials().load_door(door) > 0 for door in doors)
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_the_redirect_links_and_its_cgroup_is_gone_again(self) -> None:
        before = set(find_cgroup2_mount().iterdir())
        assert KernelTrials().redirect_cgroup() > 0
        mine = {path for path in find_cgroup2_mount().iterdir() if str(os.getpid()) in path.name}
        assert mine <= before

    def test_bcc_says_its_version(self) -> None:
        interpreter, version = KernelTrials().find_bcc()
        assert Path(interpreter).exists()
        assert version[:1].isdigit()


@pytest.mark.usefixtures("other_bcc")
def test_the_wrong_bcc_is_named_as_such(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    found = {check.name: check for check in Preflight(host, KernelTrials()).run()}
    assert found["bcc"].status is Status.PROBLEM
    assert found["bcc"].found.startswith("the wrong one: what is installed is PyPI's bcc")
    assert "python3-bpfcc" in found["bcc"].remedy


def test_no_interpreter_with_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEBPF_BCC_PYTHON", str(tmp_path / "gone"))
    find_interpreter.cache_clear()
    host = make_host(tmp_path)
    found = {check.name: check for check in Preflight(host, KernelTrials()).run()}
    find_interpreter.cache_clear()
    assert "No such file or directory" in found["bcc"].found
    assert not found["bcc"].found.startswith("the wrong one")
