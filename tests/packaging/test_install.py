"""``make install`` and ``make uninstall`` as root of a file system that is thrown away."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ROOT = Path(__file__).parents[2]
INSTALL = "packaging/setup/install"
HOME = "opt/kebpf"
PLACED = (
    "usr/local/bin/kebpf",
    "usr/local/lib/systemd/system/kebpf.service",
    "usr/local/lib/sysusers.d/kebpf.conf",
    "usr/local/lib/tmpfiles.d/kebpf.conf",
    "usr/local/share/man/man1/kebpf.1",
    "usr/local/share/bash-completion/completions/kebpf",
    "usr/local/share/zsh/site-functions/_kebpf",
    "usr/local/share/fish/vendor_completions.d/kebpf.fish",
    "etc/kebpf/kebpf.yml",
    "var/lib/kebpf",
)
# What pip and userdel leave on any host: caches, and the files of users as they were before.
NOT_OURS = (
    *("tmp/", "root/.cache/", "var/cache/", "etc/.pwd.lock"),
    *(f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
)


class PrivateRoot:
    """This host's file system with all that is written kept apart, in ``written``."""

    def __init__(self, scratch: Path, wheel: Path) -> None:
        self._wheel = wheel
        self.written = scratch / "written"
        self._work = scratch / "work"
        self._root = scratch / "root"
        for folder in (self.written, self._work, self._root):
            folder.mkdir()

    def run(self, script: str) -> str:
        """A script of bash, in the folder of the sources; its output.

        Nothing of PyPI comes with kebpf: who runs this has it already.
        """
        layers = f"lowerdir=/,upperdir={self.written},workdir={self._work}"
        inside = f"cd {ROOT} && {script}"
        steps = (
            f"mount -t overlay -o {layers} overlay {self._root}",
            *(f"mount --rbind /{name} {self._root}/{name}" for name in ("proc", "dev")),
            f'exec chroot {self._root} /bin/bash -ec "$1"',
        )
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-ec", "\n".join(steps), "bash", inside],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "KEBPF_WHEEL": str(self._wheel),
                "PIP_NO_DEPS": "1",
                "PIP_NO_INDEX": "1",
                "PYTHONPATH": sysconfig.get_path("purelib"),
                "DESTDIR": "",
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def list_changes(self) -> list[str]:
        """What is otherwise than on the host: paths from ``/`` on."""
        tools = sysconfig.get_path("purelib").lstrip("/")  # of who runs this
        not_ours = (*NOT_OURS, tools)
        return [path for path in self._list_written() if not path.startswith(not_ours)]

    def _list_written(self) -> Iterator[str]:
        for path in sorted(self.written.rglob("*")):
            name = path.relative_to(self.written).as_posix()
            if not is_same(path, Path("/") / name):
                yield f"{name}/" if path.is_dir() else name


def is_same(ours: Path, theirs: Path) -> bool:
    """Kind, mode, owner and content; what was removed is a device 0, 0 in such a layer."""
    if not os.path.lexists(theirs):
        return False
    one, other = ours.lstat(), theirs.lstat()
    if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return False
    if stat.S_ISREG(one.st_mode):
        return ours.read_bytes() == theirs.read_bytes()
    return not stat.S_ISLNK(one.st_mode) or ours.readlink() == theirs.readlink()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of these sources."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def root(wheel: Path, tmp_path: Path) -> PrivateRoot:
    if Path("/opt/kebpf").exists() or Path("/usr/local/bin/kebpf").exists():
        pytest.skip("kebpf is installed on this host")
    return PrivateRoot(tmp_path, wheel)


def test_all_of_it_is_in_its_place_and_uninstall_leaves_nothing(root: PrivateRoot) -> None:
    root.run(f"{INSTALL} add")
    for name in PLACED:
        assert os.path.lexists(root.written / name), name
    assert "kebpf 0." in root.run("/usr/local/bin/kebpf --version")
    unit = (root.written / "usr/local/lib/systemd/system/kebpf.service").read_text()
    assert "ExecStart=/usr/local/bin/kebpf agent" in unit
    owner = root.run("stat -c '%U %a' /var/lib/kebpf")
    assert owner.split() == ["root", "750"]
    root.run(f"{INSTALL} remove")
    assert root.list_changes() == []


def test_what_people_made_stays_until_it_is_purged(root: PrivateRoot) -> None:
    mine = "mkdir -p /etc/kebpf /var/lib/kebpf; echo mine >/etc/kebpf/kebpf.yml"
    root.run(f"{mine}; touch /var/lib/kebpf/set; {INSTALL} add")
    assert (root.written / "etc/kebpf/kebpf.yml").read_text() == "mine\n"
    told = root.run(f"{INSTALL} remove")
    assert "/etc/kebpf/kebpf.yml was changed and stays" in told
    assert "/var/lib/kebpf holds recordings and stays" in told
    left = [name for name in root.list_changes() if name.startswith(("etc/kebpf", "var/lib/k"))]
    assert left == ["etc/kebpf/", "etc/kebpf/kebpf.yml", "var/lib/kebpf/", "var/lib/kebpf/set"]
    root.run(f"{INSTALL} purge")
    assert root.list_changes() == []


def test_what_another_put_there_is_left_alone(root: PrivateRoot) -> None:
    root.run(f"mkdir /{HOME} && touch /{HOME}/theirs; ! {INSTALL} add; ! {INSTALL} remove")
    assert root.list_changes() == [f"{HOME}/", f"{HOME}/theirs"]
