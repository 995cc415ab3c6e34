"""What each check says of hosts that lack one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kebpf.capture import checks
from kebpf.capture.checks import Check, Part, Status
from kebpf.kernel.btf import Btf
from tests.capture.builders import make_host

OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("6.18.44", OK),
        ("5.8.0-1-amd64", OK),
        ("5.7.19", WARNING),
        ("4.18.0-553.el8", WARNING),
        ("?", WARNING),
    ],
)
def test_kernel(tmp_path: Path, release: str, status: Status) -> None:
    assert checks.check_kernel(make_host(tmp_path, release=release)).status is status


@pytest.mark.parametrize(
    ("machine", "status"), [("x86_64", OK), ("aarch64", WARNING), ("riscv64", PROBLEM)]
)
def test_machine(tmp_path: Path, machine: str, status: Status) -> None:
    assert checks.check_machine(make_host(tmp_path, machine=machine)).status is status


def bits(*numbers: int) -> str:
    return f"{sum(1 << number for number in numbers):016x}"


NET_ADMIN, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF = 12, 19, 21, 38, 39


@pytest.mark.parametrize(
    ("facts", "status", "stops", "told"),
    [
        ({}, OK, None, "every capability"),
        ({"user": 1000}, PROBLEM, Part.BOTH, "user 1000, not root"),
        ({"user_map": "0 1000 1\n"}, PROBLEM, Part.BOTH, "user namespace"),
        ({"capabilities": bits(SYS_ADMIN, SYS_PTRACE)}, OK, None, "every capability"),
        ({"capabilities": bits(BPF, PERFMON, NET_ADMIN, SYS_PTRACE)}, OK, None, "every capability"),
        ({"capabilities": bits(BPF, PERFMON, SYS_PTRACE)}, PROBLEM, Part.REPLAY, "CAP_NET_ADMIN"),
        (
            {"capabilities": bits(BPF, NET_ADMIN, SYS_PTRACE)},
            PROBLEM,
            Part.BOTH,
            "without CAP_PERFMON",
        ),
        ({"capabilities": bits(SYS_ADMIN)}, WARNING, None, "without CAP_SYS_PTRACE"),
    ],
)
def test_privileges(
    tmp_path: Path, facts: dict[str, Any], status: Status, stops: Part | None, told: str
) -> None:
    check = checks.check_privileges(make_host(tmp_path, **facts))
    assert check.status is status
    assert told in check.found
    assert stops is None or check.stops is stops


def test_process_ids_of_a_container_stop_recording_only(tmp_path: Path) -> None:
    check = checks.check_container(
        make_host(tmp_path, pid_namespace="pid:[4026532178]", files={".dockerenv": ""})
    )
    assert (check.status, check.stops) == (PROBLEM, Part.RECORD)
    assert check.found.startswith("docker, with process ids of its own")
    assert "--pid=host" in check.remedy


def test_a_container_with_the_hosts_process_ids_will_do(tmp_path: Path) -> None:
    check = checks.check_container(make_host(tmp_path, files={"run/.containerenv": ""}))
    assert (check.status, check.found) == (OK, "podman, with the host's process ids")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("none integrity [confidentiality]", PROBLEM),
        ("none [integrity] confidentiality", OK),
        ("", OK),
    ],
)
def test_lockdown(tmp_path: Path, text: str, status: Status) -> None:
    host = make_host(tmp_path, files={"sys/kernel/security/lockdown": text})
    assert checks.check_lockdown(host).status is status


def test_a_call_filter_matters_where_programs_do_not_load(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    filtered, free = make_host(tmp_path / "a", seccomp=2), make_host(tmp_path / "b")
    assert checks.check_call_filter(filtered, True).status is OK
    assert checks.check_call_filter(filtered, False).status is WARNING
    assert checks.check_call_filter(free, False).status is OK


def test_unprivileged_bpf_is_of_no_matter(tmp_path: Path) -> None:
    host = make_host(tmp_path, files={"proc/sys/kernel/unprivileged_bpf_disabled": "2\n"})
    check = checks.check_unprivileged_bpf(host)
    assert (check.status, check.found) == (OK, "2 (of no matter to root)")


VERSION_1 = "25 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
VERSION_2 = "26 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "status", "found"),
    [
        (VERSION_2, OK, "/sys/fs/cgroup/unified"),
        (
            VERSION_1 + VERSION_2,
            OK,
            "/sys/fs/cgroup/unified (hybrid: version 1 is mounted beside it)",
        ),
        (VERSION_1, PROBLEM, "no version 2 control groups are mounted here"),
    ],
)
def test_cgroup(tmp_path: Path, mountinfo: str, status: Status, found: str) -> None:
    check = checks.check_cgroup(make_host(tmp_path, mountinfo=mountinfo))
    assert (check.status, check.found) == (status, found)
    assert status is OK or (check.stops is Part.REPLAY and check.remedy)


def test_cgroup_without_proc(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    host.mountinfo().unlink()
    check = checks.check_cgroup(host)
    assert (check.status, check.found) == (PROBLEM, "unknown: No such file or directory")


def test_types_without_any_struct_lack_offsets() -> None:
    """A BTF blob with a header and no type (Documentation/bpf/btf.rst, section 2)."""
    header = bytes.fromhex("9feb 01 00 18000000 00000000 00000000 00000000 01000000")
    check = checks.check_offsets(Btf(header + b"\0"))
    assert check == Check(
        "struct offsets",
        PROBLEM,
        "this kernel has no struct sock",
        f"report this with the kernel's version; {checks.NO_BTF}",
    )


def test_whether_tasks_can_be_followed(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    assert checks.check_tasks(host).found.startswith("not followed: ")
    kind = tmp_path / "sys/bus/event_source/devices/uprobe/type"
    kind.parent.mkdir(parents=True)
    kind.write_text("8\n")
    found = checks.check_tasks(host)
    assert (found.status, found.found[:8]) == (checks.Status.OK, "followed")


def test_whether_tls_can_be_read(tmp_path: Path) -> None:
    none = checks.check_tls(make_host(tmp_path / "none"))
    some = checks.check_tls(make_host(tmp_path / "some", files={checks.UPROBE_TYPE: "8\n"}))
    assert (none.status, none.found[:8]) == (checks.Status.WARNING, "not read")
    assert none.remedy == "use a kernel built with CONFIG_UPROBE_EVENTS"
    assert (some.status, some.found[:5]) == (checks.Status.OK, "read ")


def test_which_java_programs_run(tmp_path: Path) -> None:
    names = {"proc/7/comm": "java\n", "proc/8/comm": "javac\n", "proc/30/comm": "java\n"}
    none = checks.check_java(make_host(tmp_path / "none"))
    some = checks.check_java(make_host(tmp_path / "some", files=names))
    many = {f"proc/{pid}/comm": "java\n" for pid in range(10, 20)}
    crowd = checks.check_java(make_host(tmp_path / "crowd", files=many))
    assert none.found.startswith("no Java program runs now")
    assert some.found == "processes 7, 30: read only with `kebpf record --java-agent`"
    assert crowd.found.startswith("processes 10, 11, 12, 13, 14 …: read only with ")
    assert {one.status for one in (none, some, crowd)} == {checks.Status.OK}


def test_how_units_are_found(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    assert checks.check_units(host).found.startswith("systemd does not run: ")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert checks.check_units(host).found == "systemd runs: --unit asks it"


def test_how_containers_are_found(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    assert checks.check_containers(host).found == (
        "no docker, podman or nerdctl here: --container takes ids, not names"
    )
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/podman").touch()
    assert checks.check_containers(host).found.endswith("and names that podman knows")
