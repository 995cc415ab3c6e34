from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.replay.invoker import InvokerError, find_invoker, read_sudo_environment

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

ASK = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from kebpf.replay.invoker import find_invoker
found = find_invoker()
fields = ("user", "uid", "gid", "groups", "environment", "switches", "note")
sys.stdout.write(json.dumps({name: getattr(found, name) for name in fields}))
"""


def ask_below_sudo(
    folder: Path, name: str, theirs: dict[str, str], ours: dict[str, str]
) -> dict[str, object]:
    """What a Python process sees that runs below a process called ``name``.

    A copy of a shell stands in for sudo: it keeps running above its child, was itself started
    with the caller's environment and starts its child with another.
    """
    shell = folder / name
    shutil.copy("/bin/sh", shell)
    folder.chmod(0o755)
    assignments = " ".join(f"{key}='{value}'" for key, value in ours.items())
    script = f'env -i {assignments} "$@"; exit $?'
    path = json.dumps([entry for entry in sys.path if entry])
    output = subprocess.run(
        [str(shell), "-c", script, "sudo", sys.executable, "-c", ASK, path],
        env=theirs,
        check=True,
        capture_output=True,
    ).stdout
    answer: dict[str, object] = json.loads(output)
    return answer


THEIRS = {"PATH": "/home/ann/venv/bin:/usr/bin:/bin", "VIRTUAL_ENV": "/home/ann/venv", "T": "a=b"}
OURS = {"PATH": "/usr/bin:/bin", "SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody"}


@needs_root
class TestUnderSudo:
    def test_gives_the_callers_own_environment(self, tmp_path: Path) -> None:
        answer = ask_below_sudo(tmp_path, "sudo", THEIRS, OURS)
        assert answer["environment"] == THEIRS
        assert (answer["user"], answer["uid"], answer["gid"]) == ("nobody", 65534, 65534)
        assert answer["groups"] == os.getgrouplist("nobody", 65534)
        assert answer["switches"] is True
        assert answer["note"] is None

    def test_without_a_sudo_above_says_that_the_environment_is_not_theirs(
        self, tmp_path: Path
    ) -> None:
        answer = ask_below_sudo(tmp_path, "other", THEIRS, OURS)
        environment = answer["environment"]
        assert isinstance(environment, dict)
        assert environment["HOME"] == pwd.getpwnam("nobody").pw_dir
        assert environment["USER"] == environment["LOGNAME"] == "nobody"
        assert environment["PATH"] == "/usr/bin:/bin"
        assert not [key for key in environment if key.startswith("SUDO_")]
        assert "environment of nobody could not be read" in str(answer["note"])

    def test_root_calling_sudo_stays_root(self, tmp_path: Path) -> None:
        ours = OURS | {"SUDO_UID": "0", "SUDO_GID": "0", "SUDO_USER": "root"}
        answer = ask_below_sudo(tmp_path, "sudo", THEIRS, ours)
        assert (answer["user"], answer["uid"], answer["switches"]) == ("root", 0, False)
        assert answer["environment"] == THEIRS

    def test_a_user_without_a_passwd_entry_is_still_run_as(self, tmp_path: Path) -> None:
        ours = OURS | {"SUDO_UID": "54321", "SUDO_GID": "54322", "SUDO_USER": "ghost"}
        answer = ask_below_sudo(tmp_path, "sudo", THEIRS, ours)
        assert (answer["user"], answer["uid"], answer["gid"]) == ("ghost", 54321, 54322)
        assert answer["groups"] == [54322]


def make_proc(folder: Path, processes: dict[int, tuple[str, int]]) -> Path:
    for pid, (name, parent) in processes.items():
        (folder / str(pid)).mkdir()
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
        (folder / str(pid) / "environ").write_bytes(f"WHO={pid}\0PATH=/x\0=odd\0bare\0".encode())
    return folder


class TestAncestors:
    def test_the_nearest_sudo_counts(self, tmp_path: Path) -> None:
        chain = {9: ("kebpf", 8), 8: ("sudo", 7), 7: ("bash", 6), 6: ("sudo", 1), 1: ("init", 0)}
        proc = make_proc(tmp_path, chain)
        assert read_sudo_environment(proc, 9) == {"WHO": "8", "PATH": "/x"}

    def test_names_may_hold_brackets_and_blanks(self, tmp_path: Path) -> None:
        chain = {9: ("a) S 1 (b", 8), 8: ("(sd-pam) x", 7), 7: ("sudo", 1), 1: ("init", 0)}
        assert read_sudo_environment(make_proc(tmp_path, chain), 9) == {"WHO": "7", "PATH": "/x"}

    def test_no_sudo_and_broken_chains_give_nothing(self, tmp_path: Path) -> None:
        chain = {9: ("kebpf", 8), 8: ("bash", 5), 3: ("x", 4), 4: ("y", 3)}
        proc = make_proc(tmp_path, chain)
        assert read_sudo_environment(proc, 9) is None
        assert read_sudo_environment(proc, 3) is None


class TestNotUnderSudo:
    def test_is_the_current_user_with_the_current_environment(self) -> None:
        environ = {"PATH": "/bin", "A": "1"}
        found = find_invoker(environ=environ)
        assert (found.uid, found.switches, found.note) == (os.geteuid(), False, None)
        assert found.environment == environ

    @needs_root
    def test_a_named_user_wins_over_sudos_caller(self) -> None:
        environ = {"PATH": "/bin", "SUDO_UID": "1", "SUDO_GID": "1", "SUDO_USER": "daemon"}
        found = find_invoker("nobody", environ)
        assert (found.user, found.uid, found.switches) == ("nobody", 65534, True)
        assert found.environment["PATH"] == "/bin"
        assert found.environment["USER"] == "nobody"

    def test_an_unknown_user_is_a_sentence(self) -> None:
        with pytest.raises(InvokerError, match="there is no user called no-such-user"):
            find_invoker("no-such-user")
