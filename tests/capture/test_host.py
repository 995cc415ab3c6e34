"""Facts about a host out of files as the manual pages show them, and out of this very process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.capture.host import CAPABILITIES, Host
from tests.capture.builders import make_host

DOCKER_DEFAULT = "00000000a80425fb"  # what `docker run` gives root


def test_kernel_version_is_the_first_two_numbers() -> None:
    assert Host(release="6.18.44-fc-v669").kernel_version() == (6, 18)
    assert Host(release="4.18.0-553.el8_10.x86_64").kernel_version() == (4, 18)
    assert Host(release="plan9").kernel_version() is None


def test_capabilities_by_their_bits(tmp_path: Path) -> None:
    assert make_host(tmp_path).capabilities() == set(CAPABILITIES)
    (tmp_path / "proc/self/status").write_text(f"CapEff:\t{DOCKER_DEFAULT}\n")
    assert Host(tmp_path).capabilities() == set()
    (tmp_path / "proc/self/status").write_text("CapEff:\t000000c000080000\n")
    assert Host(tmp_path).capabilities() == {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"}


def test_capability_bits_are_the_kernels() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("linux-libc-dev is not installed")
    defined = [line.split() for line in header.read_text().splitlines() if "#define CAP_" in line]
    numbers = {words[1]: words[2] for words in defined if len(words) > 2}
    assert {name: numbers[name] for name in CAPABILITIES} == {
        name: str(bit) for name, bit in CAPABILITIES.items()
    }


def test_call_filter(tmp_path: Path) -> None:
    assert make_host(tmp_path, seccomp=2).has_call_filter()
    (tmp_path / "proc/self/status").write_text("Seccomp:\t0\nSeccomp_filters:\t0\n")
    assert not Host(tmp_path).has_call_filter()


def test_namespaces(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own = make_host(tmp_path / "a", user_map="0 1000 1\n", pid_namespace="pid:[4026532178]")
    assert own.is_in_user_namespace()
    assert own.is_in_pid_namespace()
    shared = make_host(tmp_path / "b")
    assert not shared.is_in_user_namespace()
    assert not shared.is_in_pid_namespace()


@pytest.mark.kernel
def test_a_new_pid_namespace_is_seen() -> None:
    """unshare(1) is the oracle: what it makes is one."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    code = "from kebpf.capture.host import Host; print(Host().is_in_pid_namespace())"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[none] integrity confidentiality\n", "none"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("", None),
    ],
)
def test_lockdown(tmp_path: Path, text: str, mode: str | None) -> None:
    assert make_host(tmp_path, files={"sys/kernel/security/lockdown": text}).lockdown() == mode


@pytest.mark.parametrize(
    ("files", "environment", "kind"),
    [
        ({}, {}, None),
        ({".dockerenv": ""}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({"run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({}, {"container": "systemd-nspawn"}, "systemd-nspawn"),
    ],
)
def test_container(
    tmp_path: Path, files: dict[str, str], environment: dict[str, str], kind: str | None
) -> None:
    assert make_host(tmp_path, files=files, environment=environment).container() == kind


def test_hybrid_layout(tmp_path: Path) -> None:
    first = "25 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    second = "26 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    host = make_host(tmp_path, mountinfo=first + second)
    assert host.has_cgroup1()
    host.mountinfo().write_text(second)
    assert not host.has_cgroup1()


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    host = Host(tmp_path, environment={})
    assert host.read("proc/self/status") is None
    assert host.capabilities() == set()
    assert not host.has_call_filter()
    assert not host.is_in_user_namespace()
    assert not host.is_in_pid_namespace()
    assert host.lockdown() is None
    assert host.container() is None
    assert not host.has_cgroup1()
