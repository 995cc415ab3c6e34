"""Namespaces made by a process of their own; `ip`, lsns and /proc say what they are."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kebpf.kernel.namespaces import HostNetwork, explain_refusal

pytestmark = pytest.mark.kernel

ISOLATED = "from kebpf.kernel.namespaces import isolate; isolate(); import os, sys, time"
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all")
SOURCES = str(Path(__file__).parents[2])


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {SOURCES!r}); {code}"]


def run_isolated(*command: str) -> str:
    """What a command prints in namespaces of its own."""
    code = f"{ISOLATED}; os.execvp(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([*python(code), *command], capture_output=True, text=True, check=True)
    return done.stdout


@contextmanager
def standing_isolated() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A process that stands in its namespaces, and which these are."""
    code = f"{ISOLATED}; print('there', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen(python(code), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "there\n"
            yield process, {kind: read_namespace(process.pid, kind) for kind in ("net", "mnt")}
        finally:
            process.kill()


def read_namespace(pid: int | str, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def list_namespaces() -> set[str]:
    """Those of all processes, as lsns sees them."""
    done = subprocess.run(["lsns", "-n", "-o", "TYPE,NS"], capture_output=True, text=True)
    return {"{}:[{}]".format(*line.split()) for line in done.stdout.splitlines()}


def list_addresses(text: str) -> set[tuple[int, str]]:
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
    links: list[Any] = json.loads(text)
    return {(families[one["family"]], one["local"]) for link in links for one in link["addr_info"]}


def test_loopback_is_all_there_is() -> None:
    links = json.loads(run_isolated("ip", "-j", "link"))
    assert [link["ifname"] for link in links] == ["lo"]
    assert "UP" in links[0]["flags"]


def test_the_addresses_are_the_hosts() -> None:
    here = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout
    assert list_addresses(run_isolated("ip", "-j", "addr")) == list_addresses(here)


def test_settings_that_programs_depend_on_are_the_hosts() -> None:
    host = HostNetwork.read()
    assert "ipv4/ip_unprivileged_port_start" in host.settings
    for name, value in host.settings.items():
        assert run_isolated("cat", f"/proc/sys/net/{name}").strip() == value, name


def test_a_host_without_ipv6_stays_one() -> None:
    """A network in which IPv6 is switched off, made by the test, with another one inside."""
    off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up"
    code = f"{ISOLATED}; os.execvp('ip', ['ip', '-j', 'addr'])"
    shell = ["sh", "-c", f'{off}; exec "$@"', "sh", *python(code)]
    done = subprocess.run(["unshare", "--net", *shell], capture_output=True, text=True, check=True)
    assert list_addresses(done.stdout) == {(socket.AF_INET, "127.0.0.1")}


def test_an_own_mount_is_seen_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "over").write_text("theirs")
    (tmp_path / "under").write_text("mine")
    mounting = (
        f"from kebpf.kernel.namespaces import mount, MS_BIND; "
        f"mount({str(tmp_path / 'over')!r}, {str(tmp_path / 'under')!r}, MS_BIND)"
    )
    code = f"{ISOLATED}; {mounting}; print(open({str(tmp_path / 'under')!r}).read())"
    done = subprocess.run(python(code), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "theirs"
    assert (tmp_path / "under").read_text() == "mine"
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_nothing_is_left_of_them_after_a_kill() -> None:
    with standing_isolated() as (process, theirs):
        assert all(theirs[kind] != read_namespace("self", kind) for kind in theirs)
        assert set(theirs.values()) <= list_namespaces()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not set(theirs.values()) & list_namespaces()


def test_where_none_may_be_made_is_a_sentence() -> None:
    code = (
        "from kebpf.kernel.errors import KernelError\n"
        "from kebpf.kernel.namespaces import isolate\n"
        "try:\n isolate()\nexcept KernelError as error:\n print(error)"
    )
    done = subprocess.run(
        [*WITHOUT_RIGHTS, *python(f"exec({code!r})")], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "a network namespace cannot be made: the kernel does not let this process make one\n"
    )


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EPERM, "the kernel does not let this process make one"),
        (errno.ENOSPC, "the limit on their number is reached"),
        (errno.EINVAL, "this kernel was built without them"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_each_refusal_has_its_reason(number: int, reason: str) -> None:
    error = explain_refusal("a network namespace", OSError(number, os.strerror(number)))
    assert str(error) == f"a network namespace cannot be made: {reason}"
    assert "without --isolated" in error.hint
