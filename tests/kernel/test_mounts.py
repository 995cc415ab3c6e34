"""What a process started within finds at a path, and that nobody else does."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.kernel import mounts
from kebpf.kernel.errors import KernelError
from kebpf.kernel.mounts import covered

pytestmark = pytest.mark.kernel


@contextmanager
def covering(files: Mapping[Path, Path | bytes]) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as scratch, covered(files, Path(scratch)):
        yield


def run_shell(script: str) -> str:
    return subprocess.check_output(["sh", "-c", script], text=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What is to be found somewhere else."""
    path = tmp_path / "ours"
    path.write_text("ours")
    return path


@pytest.fixture(params=["overlay", "mirror"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a folder is covered: the second way where the first is refused."""

    def refuse(*_: object) -> None:
        raise OSError

    if request.param == "mirror":
        monkeypatch.setattr(mounts, "_overlay", refuse)


def test_a_file_that_is_there_is_covered(tmp_path: Path, file: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    with covering({theirs: file}):
        assert run_shell(f"cat {theirs}") == "ours"
    assert (theirs.read_text(), run_shell(f"cat {theirs}")) == ("theirs", "theirs")


@pytest.mark.usefixtures("way")
def test_contents_need_no_file_and_a_folder_is_covered_once(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    contents = {tmp_path / f"new{number}": f"{number}\n".encode() for number in range(9)}
    with covering({**contents, theirs: b"other\n"}):
        shown = run_shell(f"cat {tmp_path}/new* {theirs}; stat -c %a {tmp_path}/new0")
    assert shown == "".join(f"{number}\n" for number in range(9)) + "other\n644\n"
    assert sorted(os.listdir(tmp_path)) == ["theirs"]  # noqa: PTH208
    assert theirs.read_text() == "theirs"


@pytest.mark.usefixtures("way")
def test_a_path_whose_folder_is_missing_is_made_for_them_alone(tmp_path: Path, file: Path) -> None:
    (tmp_path / "beside").write_text("as it was")
    (tmp_path / "link").symlink_to("beside")
    (tmp_path / "folder").mkdir()
    missing = tmp_path / "run" / "server" / "socket"
    with covering({missing: file}):
        shown = run_shell(f"cat {missing} {tmp_path}/link; ls {tmp_path}")
        run_shell(f"echo more > {tmp_path}/made")
    assert shown == "oursas it wasbeside\nfolder\nlink\nours\nrun\n"
    assert sorted(os.listdir(tmp_path)) == ["beside", "folder", "link", "ours"]  # noqa: PTH208


@pytest.mark.usefixtures("way")
def test_what_is_mounted_below_stays(tmp_path: Path, file: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with covering({}):
        pass
    script = f"mount -t tmpfs none {inner} && touch {inner}/within"
    try:
        run_shell(script)
        with covering({tmp_path / "new" / "socket": file}):
            assert run_shell(f"ls {inner}") == "within\n"
    finally:
        subprocess.run(["umount", inner], check=True)


def test_several_paths_in_one_folder(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other"
    other.write_text("other")
    run = tmp_path / "run"
    with covering({run / "a": file, run / "b": other, run / "deep" / "c": file}):
        assert run_shell(f"cat {run}/a {run}/b {run}/deep/c") == "oursotherours"
    assert not run.exists()


def test_a_way_over_a_link_leads_to_the_same_place(tmp_path: Path, file: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with covering({tmp_path / "link" / "socket": file}):
        assert run_shell(f"cat {tmp_path}/real/socket") == "ours"


def test_a_socket_is_reached_by_the_other_path(tmp_path: Path) -> None:
    path = tmp_path / "ours.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        name = tmp_path / "run" / "theirs.sock"
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(name)!r})"
        with covering({name: path}):
            subprocess.run(["python3", "-c", code], check=True)
        server.settimeout(20)
        server.accept()[0].close()


def test_this_process_stays_where_it_was(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = Path("/proc/self/ns/mnt").readlink()
    with covering({tmp_path / "run" / "socket": file}):
        assert run_shell("cat run/socket") == "ours"  # theirs begins in the covered folder
    assert Path("/proc/self/ns/mnt").readlink() == namespace
    assert Path.cwd() == tmp_path
    assert not Path("run").exists()


def test_a_path_that_cannot_be_made_is_said(file: Path) -> None:
    here, namespace = Path.cwd(), Path("/proc/self/ns/mnt").readlink()
    missing = {Path("/no-such-folder-here/socket"): file}
    with pytest.raises(KernelError, match="cannot be put in the place"), covering(missing):
        raise AssertionError("not reached")
    assert (Path.cwd(), Path("/proc/self/ns/mnt").readlink()) == (here, namespace)
