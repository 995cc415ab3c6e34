"""A network without root: who one is there, what is local, and that nothing outlives the run."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.kernel.rootless import OTHER_FORM, explain_refusal
from tests.kernel.rootless_runs import HEAD, NOBODY, as_user, run_inside, skip_unless_reachable

USER = 4711  # has no entry in passwd, as in many containers
ROOT_OF_CONTAINER = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all")
NO_NAMESPACES = "a network of the run's own cannot be made without root"


@pytest.fixture(autouse=True)
def _reachable() -> None:
    skip_unless_reachable()


@pytest.mark.kernel
@pytest.mark.parametrize("uid", [NOBODY, USER])
def test_a_program_sees_its_user_and_has_no_rights(uid: int) -> None:
    status = run_inside(
        'print(json.dumps(subprocess.check_output(["cat", "/proc/self/status"], text=True)))',
        uid=uid,
    )
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["Uid"].split() == lines["Gid"].split() == [str(uid)] * 4
    rights = [int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
    assert rights == [0, 0, 0, 0]


@pytest.mark.kernel
@pytest.mark.parametrize("prefix", [(), ROOT_OF_CONTAINER], ids=["root", "root of a container"])
def test_root_can_still_become_another(prefix: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    words = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "id", "-u"]
    code = f"print(json.dumps(subprocess.check_output({words!r}, text=True).strip()))"
    assert run_inside(code, uid=0, prefix=prefix) == str(USER)


@pytest.mark.kernel
def test_loopback_is_all_there_is_and_every_address_is_its() -> None:
    code = """
links = json.loads(subprocess.check_output(["ip", "-j", "link"], text=True))
routes = [
    json.loads(subprocess.check_output(["ip", "-j", "route", "get", host], text=True))[0]
    for host in ("10.1.2.3", "198.51.100.7", "2001:db8::7")
]
print(json.dumps([[link["ifname"] for link in links], routes]))
"""
    links, routes = run_inside(code)
    assert links == ["lo"]
    assert {(route["type"], route["dev"]) for route in routes} == {("local", "lo")}


@pytest.mark.kernel
def test_ordinary_users_may_listen_on_any_port() -> None:
    """A service recorded on port 80 as root is replayed on port 80."""
    code = """
words = ["/usr/bin/python3", "-c", "import socket; socket.create_server(('0.0.0.0', 80))"]
print(json.dumps(subprocess.run(words).returncode))
"""
    assert run_inside(code) == 0


def start_with_daemon() -> tuple[subprocess.Popen[str], int]:
    """A run whose program has left it by a double fork; the daemon's id."""
    daemon = (
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True); time.sleep(600)\n"
    )
    code = HEAD + (
        "from kebpf.kernel.rootless import entered\n"
        "with entered() as network:\n"
        f"    subprocess.run([sys.executable, '-c', {daemon!r}])\n"
        "    sys.stdin.readline()\n"
    )
    run = subprocess.Popen(
        as_user(sys.executable, "-c", code),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert run.stdout is not None
    return run, int(run.stdout.readline())


@pytest.mark.kernel
@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_ends_with_the_run_however_that_ends(number: signal.Signals | None) -> None:
    run, daemon = start_with_daemon()
    try:
        end = os.pidfd_open(daemon)
        network = str(Path(f"/proc/{daemon}/ns/net").readlink())
        if number is None:
            run.communicate("\n", timeout=30)
            assert run.returncode == 0
        else:
            run.send_signal(number)
        assert select.select([end], [], [], 30)[0], "the daemon still runs"
        os.close(end)
        await_gone(network)
    finally:
        run.kill()
        run.communicate()


def await_gone(network: str) -> None:
    """Until no process is in a namespace: the last one is the one that ended the others."""
    for pid in [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if str(Path(f"/proc/{pid}/ns/net").readlink()) == network:
                assert select.select([descriptor], [], [], 30)[0], f"{pid} is left"
        except OSError:
            continue
        finally:
            os.close(descriptor)


@pytest.mark.kernel
def test_a_host_that_allows_no_user_namespaces_is_named() -> None:
    """The limit is set in a user namespace of the test's, in which there can be none below."""
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "$@"'
    code = (
        HEAD + "from kebpf.kernel.rootless import entered\n"
        "from kebpf.kernel.errors import KernelError\n"
        "try:\n    entered().__enter__()\n"
        "except KernelError as error: print(error, error.hint, sep='|')\n"
    )
    inner = ["sh", "-c", shell, "sh", "--inh-caps=-all", sys.executable, "-c", code]
    words = ["unshare", "--user", "--map-root-user", *inner]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", timeout=60)
    assert done.stdout.strip() == f"{NO_NAMESPACES}: user.max_user_namespaces is 0|{OTHER_FORM}", (
        done.stderr
    )


FILTER = """
import ctypes, platform, struct
number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
refuse = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in refuse))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(raw)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == libc.prctl(22, 2, program, 0, 0) == 0
from kebpf.kernel.errors import KernelError
from kebpf.kernel.rootless import entered
try:
    entered().__enter__()
except KernelError as error:
    print(error)
"""


@pytest.mark.kernel
def test_a_filter_that_refuses_the_call_is_named() -> None:
    """As that of a container is: unshare(2) gets EPERM by seccomp(2)."""
    words = as_user(sys.executable, "-c", HEAD + FILTER)
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", timeout=60)
    reason = "a seccomp filter forbids it (as a container's does unless told otherwise)"
    assert done.stdout == f"{NO_NAMESPACES}: {reason}\n", done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor takes all rights in them (kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
    ],
)
def test_a_policy_is_named(tmp_path: Path, setting: str, value: str, reason: str) -> None:
    file = tmp_path / "sys" / setting
    file.parent.mkdir(parents=True)
    file.write_text(f"{value}\n")
    error = explain_refusal(PermissionError(errno.EPERM, "no"), tmp_path)
    assert (str(error), error.hint) == (f"{NO_NAMESPACES}: {reason}", OTHER_FORM)


@pytest.mark.parametrize(
    ("seccomp", "reason"),
    [
        ("2", "a seccomp filter forbids it (as a container's does unless told otherwise)"),
        ("0", "Operation not permitted"),
    ],
)
def test_a_seccomp_filter_is_named(tmp_path: Path, seccomp: str, reason: str) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text(f"Name:\tkebpf\nSeccomp:\t{seccomp}\n")
    error = explain_refusal(PermissionError(errno.EPERM, os.strerror(errno.EPERM)), tmp_path)
    assert str(error) == f"{NO_NAMESPACES}: {reason}"


def test_a_kernel_without_is_named(tmp_path: Path) -> None:
    error = explain_refusal(OSError(errno.EINVAL, "Invalid argument"), tmp_path)
    assert str(error) == f"{NO_NAMESPACES}: this kernel was built without user namespaces"
