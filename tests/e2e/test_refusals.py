"""A host that refuses a network without root: one sentence, the form that works, status 3."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.processes import find_free_port
from examples.recorder import find_kebpf, with_sources
from kebpf.kernel.rootless import OTHER_FORM
from tests.e2e.conftest import skip_unless_root
from tests.e2e.ordinary import become, find_ordinary_user, give, open_folder
from tests.kernel.rootless_runs import skip_unless_reachable
from tests.pytest_plugin.test_cases import make_set

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(100)]

# Instructions of seccomp(2)'s filters, linux/bpf_common.h; `struct seccomp_data` has the call's
# number at 0 and the third argument at 32.
LOAD, AND, IF_EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
ALLOW, REFUSE_EPERM = 0x7FFF0000, 0x00050001
OPENAT = {"x86_64": 257, "aarch64": 56}
UNSHARE = {"x86_64": 272, "aarch64": 97}
INSTALL = """
import ctypes, os, sys
raw = ctypes.create_string_buffer(bytes.fromhex(sys.argv[1]))
program = ctypes.create_string_buffer(
    (len(raw) // 8).to_bytes(8, sys.byteorder) + ctypes.addressof(raw).to_bytes(8, sys.byteorder)
)
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""


def install_filter(*instructions: tuple[int, int, int, int]) -> list[str]:
    """The words that put the rest of a command line under a filter."""
    code = b"".join(struct.pack("HBBI", *one) for one in instructions)
    return [sys.executable, "-c", INSTALL, code.hex()]


def refuse_unshare() -> list[str]:
    """As a container's filter does."""
    number = UNSHARE[machine()]
    return install_filter(
        (LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, REFUSE_EPERM), (RETURN, 0, 0, ALLOW),
    )  # fmt: skip


def refuse_writing() -> list[str]:
    """As in a namespace without any right, which AppArmor's policy makes: it cannot be set up."""
    return install_filter(
        (LOAD, 0, 0, 0), (IF_EQUAL, 0, 4, OPENAT[machine()]),
        (LOAD, 0, 0, 32), (AND, 0, 0, 3), (IF_EQUAL, 0, 1, 1),
        (RETURN, 0, 0, REFUSE_EPERM), (RETURN, 0, 0, ALLOW),
    )  # fmt: skip


def machine() -> str:
    return subprocess.check_output(["uname", "-m"], text=True).strip()


def in_shell(setup: str) -> list[str]:
    """The words that run the rest of a command line after ``setup``."""
    return ["sh", "-c", f'{setup} && exec "$@"', "sh"]


def allow_no_namespaces(user: str) -> list[str]:
    """A user namespace in which there can be none below, and one is root without any right."""
    none = in_shell("echo 0 > /proc/sys/user/max_user_namespaces")
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    return [*become(user), "unshare", "--user", "--map-root-user", *none, *drop]


def restrict_by_apparmor(user: str) -> list[str]:
    setting = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    policy = f"mount -t tmpfs none /proc/sys/kernel && echo 1 > {setting}"
    return ["unshare", "--mount", *in_shell(policy), *become(user), *refuse_writing()]


def filter_calls(user: str) -> list[str]:
    return [*become(user), *refuse_unshare()]


HOSTS = {
    "no namespaces": (allow_no_namespaces, "user.max_user_namespaces is 0"),
    "AppArmor": (
        restrict_by_apparmor,
        "AppArmor takes all rights in them (kernel.apparmor_restrict_unprivileged_userns is 1)",
    ),
    "seccomp": (
        filter_calls,
        "a seccomp filter forbids it (as a container's does unless told otherwise)",
    ),
}
SOME = "AppArmor"  # of the hosts
COMMANDS = {
    "test": ["test", "site", "-c", "true"],
    "jobs": ["test", "site", "--jobs", "4", "-c", "true"],
    "mock": ["mock", "site", "--", "true"],
}


@pytest.fixture(scope="module")
def theirs() -> Iterator[Path]:
    """A folder of the user's with a test set."""
    skip_unless_root()
    skip_unless_reachable()
    with open_folder() as folder:
        make_set(folder / "kebpf" / "site", find_free_port())
        give(folder, find_ordinary_user())
        yield folder


@pytest.mark.parametrize(
    ("host", "command"), [*((host, "test") for host in HOSTS), (SOME, "jobs"), (SOME, "mock")]
)
def test_one_sentence_and_the_form_that_works(host: str, command: str, theirs: Path) -> None:
    prepare, reason = HOSTS[host]
    name, *rest = COMMANDS[command]
    done = run(theirs, *prepare(find_ordinary_user()), *find_kebpf(), name, "--rootless", *rest)
    sentence = f"a network of the run's own cannot be made without root: {reason}"
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert done.stderr == f"kebpf: {sentence}\n  {OTHER_FORM}\n"


def test_the_doctor_says_it_beforehand(theirs: Path) -> None:
    prepare, reason = HOSTS[SOME]
    done = run(theirs, *prepare(find_ordinary_user()), *find_kebpf(), "doctor", "--json")
    told = json.loads(done.stdout)
    [check] = [one for one in told["checks"] if one["name"] == "user namespaces"]
    assert check["found"].endswith(f"cannot be made without root: {reason}")
    assert (check["status"], check["remedy"], told["rootless"]) == ("warning", OTHER_FORM, False)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=with_sources({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
