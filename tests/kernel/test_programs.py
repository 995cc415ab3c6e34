"""Loading: through whichever interpreter has bcc, and one sentence where that is none."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.kernel import programs
from kebpf.kernel.bpf import RAW_TRACEPOINT
from kebpf.kernel.btf import Btf
from kebpf.kernel.errors import KernelError
from kebpf.kernel.offsets import offset_flags
from kebpf.kernel.programs import (
    BCC_HINT,
    Loaded,
    Program,
    find_bpf_folder,
    find_interpreter,
    load_programs,
)

ROOT = Path(__file__).parents[2]
EXEC = {"on_sched_process_exec": Program(RAW_TRACEPOINT)}


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    """The interpreter found is remembered."""
    find_interpreter.cache_clear()
    yield
    find_interpreter.cache_clear()


def load_one(*flags: str) -> Loaded:
    flags = (
        *offset_flags(Btf.load()),
        "-DKEBPF_RING_PAGES=16",
        "-DKEBPF_CALL_LIMIT=1000",
        "-DKEBPF_PROCESSORS=64",
        "-DKEBPF_CONNECTIONS=64",
        "-DKEBPF_PLACES=64",
        "-DKEBPF_ROUNDS=48",
        *flags,
    )
    return load_programs("door_a.c", EXEC, ("targets", "counts"), flags)


def make_interpreter(folder: Path, bcc: str | None) -> Path:
    """A Python with this module as its `bcc`, or with none."""
    site = folder / "site"
    site.mkdir()
    if bcc is not None:
        (site / "bcc.py").write_text(bcc)
    interpreter = folder / "python"
    interpreter.write_text(
        f"#!{sys.executable} -S\n"
        "import os, runpy, sys\n"
        f"sys.path = [{str(site)!r}, *[p for p in sys.path if 'packages' not in p]]\n"
        "words = [word for word in sys.argv[1:] if word != '-I']\n"
        "sys.argv = words\n"
        "if words[0] == '-c':\n"
        "    sys.argv = ['-c', *words[2:]]\n"
        "    exec(words[1])\n"
        "else:\n"
        "    runpy.run_path(words[0], run_name='__main__')\n"
    )
    interpreter.chmod(0o755)
    return interpreter


PYPI_BCC = "class BCCException(Exception):\n    pass\n"  # another project of this name


@pytest.mark.parametrize(
    ("module", "said"), [(None, "No module named 'bcc'"), (PYPI_BCC, "cannot import name 'BPF'")]
)
def test_without_the_right_bcc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str | None, said: str
) -> None:
    interpreter = make_interpreter(tmp_path, module)
    monkeypatch.setenv("KEBPF_BCC_PYTHON", str(interpreter))
    with pytest.raises(KernelError) as raised:
        load_programs("door_a.c", EXEC, ("targets",), ())
    text = str(raised.value)
    assert text.startswith(f"bcc is not to be had ({interpreter}: ")
    assert said in text
    assert "\n" not in text
    assert raised.value.hint == BCC_HINT


@pytest.mark.parametrize(
    ("interpreter", "said"),
    [
        ("/nonexistent/python", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
    ],
)
def test_an_interpreter_that_is_none(
    monkeypatch: pytest.MonkeyPatch, interpreter: str, said: str
) -> None:
    monkeypatch.setenv("KEBPF_BCC_PYTHON", interpreter)
    with pytest.raises(KernelError, match=said):
        load_programs("door_a.c", EXEC, ("targets",), ())


def test_an_interpreter_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEBPF_BCC_PYTHON", "/bin/false")
    with pytest.raises(KernelError, match="/bin/false ended without an answer"):
        load_programs("door_a.c", EXEC, ("targets",), ())


@pytest.mark.kernel
def test_the_next_interpreter_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = make_interpreter(tmp_path, None)
    monkeypatch.setattr(programs, "_INTERPRETERS", (str(without), "/usr/bin/python3"))
    monkeypatch.delenv("KEBPF_BCC_PYTHON", raising=False)
    loaded = load_one()
    assert set(loaded.programs) == set(EXEC)
    loaded.close()


@pytest.mark.kernel
def test_descriptors_stay_in_this_process() -> None:
    loaded = load_one()
    try:
        descriptors = [*loaded.programs.values(), *loaded.maps.values()]
        assert len(descriptors) == 3
        assert not any(map(os.get_inheritable, descriptors))
    finally:
        loaded.close()
    assert loaded.programs == loaded.maps == {}
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return no_such_name;", "error: use of undeclared identifier 'no_such_name'"),
        ("return *(int *)(ctx->args[0]);", "invalid mem access"),
    ],
    ids=["compiler", "verifier"],
)
def test_what_is_refused_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    (tmp_path / "shim").symlink_to(find_bpf_folder() / "shim")
    (tmp_path / "bad.c").write_text(f"int bad(struct bpf_raw_tracepoint_args *ctx) {{ {body} }}\n")
    monkeypatch.setattr(programs, "find_bpf_folder", lambda: tmp_path)
    with pytest.raises(KernelError) as raised:
        load_programs("bad.c", {"bad": Program(RAW_TRACEPOINT)}, (), ())
    text = str(raised.value)
    assert text.startswith("the kernel did not take the programs: ")
    assert said in text
    assert "\n" not in text
    assert "doctor" in raised.value.hint


def test_sources_missing_from_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "__file__", str(tmp_path / "kebpf/kernel/programs.py"))
    with pytest.raises(KernelError, match="BPF sources are missing") as raised:
        find_bpf_folder()
    assert raised.value.hint == "reinstall kebpf"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """A command's output; nothing of this checkout is on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.kernel
def test_an_installed_wheel_loads_its_programs(tmp_path: Path) -> None:
    """Everything that the loader and the compiler need is in the package."""
    pytest.importorskip("hatchling", reason="builds the wheel without a network")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("kebpf-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = (
        "import kebpf; from kebpf.capture.probes import Door, Probes\n"
        "for door in Door:\n    p = Probes(door); p.attach(); p.close()\n"
        "print(kebpf.__file__)"
    )
    output = run(python, "-c", code, cwd=tmp_path)
    assert Path(output.strip()).is_relative_to(site)
    assert "usage" in run(tmp_path / "venv/bin/kebpf", "record", "--help", cwd=tmp_path).lower()
