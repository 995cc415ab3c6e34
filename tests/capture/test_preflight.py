"""The order of checks, what is tried when, and what a refusal comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kebpf.capture.checks import UPROBE_TYPE, Check, Part, Status
from kebpf.capture.preflight import Preflight
from kebpf.capture.probes import Door
from kebpf.capture.rootless import Trial
from kebpf.kernel.btf import VMLINUX_BTF
from kebpf.kernel.errors import KernelError
from kebpf.kernel.kept import UntrustedError
from tests.capture.builders import FakeTrials, make_host

REFUSAL = KernelError("the kernel refuses a probe on sys_exit", "see `kebpf doctor`")


def run(
    root: Path, trials: FakeTrials, btf: bytes | None = None, **facts: Any
) -> tuple[Preflight, dict[str, Check]]:
    host = make_host(root, **facts)
    (root / "sys/kernel/btf").mkdir(parents=True)
    if btf is not None:
        (root / "sys/kernel/btf/vmlinux").write_bytes(btf)
    preflight = Preflight(host, trials)
    return preflight, {check.name: check for check in preflight.run()}


@pytest.fixture(scope="module")
def types() -> bytes:
    if not VMLINUX_BTF.exists():
        pytest.skip(f"{VMLINUX_BTF} is missing: this kernel has no BTF")
    return VMLINUX_BTF.read_bytes()


@pytest.fixture(scope="module")
def old_types(types: bytes) -> bytes:
    """Of a kernel from before the tracepoints: their typedefs have another name."""
    return types.replace(b"btf_trace_sock_", b"btf_trace_sick_")


@pytest.mark.kernel
class TestWithTypes:
    def test_a_host_that_has_everything(self, tmp_path: Path, types: bytes) -> None:
        trials = FakeTrials()
        found_types = types + b"\0btf_trace_sock_send_length\0"
        preflight, found = run(tmp_path, trials, found_types, files={UPROBE_TYPE: "8\n"})
        assert preflight.door is Door.A
        assert {check.status for check in found.values()} == {Status.OK}
        assert trials.done == ["bcc", "door a", "door b", "redirect", "kept", "ipv6", "network"]
        assert list(found) == [
            "kebpf",
            "kernel",
            "architecture",
            "type information",
            "struct offsets",
            "door",
            "privileges",
            "container",
            "lockdown",
            "unprivileged BPF",
            "bcc",
            "seccomp",
            "door a loads",
            "door b loads",
            "redirect loads",
            "kept programs",
            "cgroup v2",
            "asyncio tasks",
            "TLS",
            "Java's TLS",
            "units",
            "containers",
            "IPv6 loopback",
            "user namespaces",
            "nf_tables",
            "time namespaces",
        ]
        assert found["redirect loads"].found == "and is taken off again; loading took 0.50 s"

    def test_an_older_kernel_gets_door_b_and_only_that_is_tried(
        self, tmp_path: Path, old_types: bytes
    ) -> None:
        trials = FakeTrials()
        preflight, found = run(tmp_path, trials, old_types)
        assert preflight.door is Door.B
        assert found["door"].found.startswith("b: the end of every system call")
        assert "door a" not in trials.done
        assert found["door a loads"].status is Status.OK

    def test_the_door_in_use_is_needed_the_other_is_not(self, tmp_path: Path, types: bytes) -> None:
        preflight, found = run(tmp_path, FakeTrials({"door a": REFUSAL, "door b": REFUSAL}), types)
        assert preflight.door is not None
        used = found[f"door {preflight.door.value} loads"]
        assert (used.status, used.stops) == (Status.PROBLEM, Part.RECORD)
        assert used.remedy == "report this, with the whole output of `kebpf doctor`"
        others = [found[f"door {door.value} loads"] for door in Door if door is not preflight.door]
        assert {each.status for each in others} <= {Status.WARNING, Status.OK}

    def test_a_refused_redirect_stops_replay_only(self, tmp_path: Path, types: bytes) -> None:
        error = KernelError("a control group cannot be made", "give it a writable cgroup")
        _, found = run(tmp_path, FakeTrials({"redirect": error}), types)
        check = found["redirect loads"]
        assert (check.status, check.stops) == (Status.PROBLEM, Part.REPLAY)
        assert check.remedy == "give it a writable cgroup"

    def test_in_a_container_the_remedy_is_its_privileges(
        self, tmp_path: Path, types: bytes
    ) -> None:
        trials = FakeTrials({"redirect": PermissionError(1, "Operation not permitted")})
        _, found = run(tmp_path, trials, types, seccomp=2, files={".dockerenv": ""})
        assert "--privileged" in found["redirect loads"].remedy
        assert found["seccomp"].status is Status.WARNING

    def test_a_plain_user_is_told_what_was_not_looked_at(
        self, tmp_path: Path, types: bytes
    ) -> None:
        trials = FakeTrials()
        preflight, found = run(tmp_path, trials, types, user=1000)
        assert trials.done == ["bcc", "ipv6", "network"]
        assert preflight.door is not None
        assert found["privileges"].status is Status.PROBLEM
        for name in ("door a loads", "redirect loads"):
            assert found[name].status in (Status.WARNING, Status.OK)
        assert found["redirect loads"].found == "not tried: it needs root"

    def test_nothing_is_loaded_without_bcc(self, tmp_path: Path, types: bytes) -> None:
        trials = FakeTrials({"bcc": KernelError("bcc is not to be had (x: no)", "install it")})
        _, found = run(tmp_path, trials, types)
        assert found["bcc"].status is Status.PROBLEM
        assert found["bcc"].remedy == "install it"
        assert trials.done == ["bcc", "kept", "ipv6", "network"]

    def test_truncated_types_never_raise(self, tmp_path: Path, types: bytes) -> None:
        for number, size in enumerate((0, 10, 24, 25, 1000, 4097, len(types) // 2)):
            root = tmp_path / str(number)
            root.mkdir()
            _, found = run(root, FakeTrials(), types[:size])
            told = [found.get("type information"), found.get("struct offsets")]
            assert any(check and check.status is Status.PROBLEM for check in told)


def test_a_kernel_without_types(tmp_path: Path) -> None:
    preflight, found = run(tmp_path, FakeTrials())
    assert preflight.door is None
    assert found["type information"].status is Status.PROBLEM
    assert "CONFIG_DEBUG_INFO_BTF" in found["type information"].remedy
    assert "door" not in found
    assert found["redirect loads"].status is Status.WARNING


def test_types_that_are_no_btf(tmp_path: Path) -> None:
    _, found = run(tmp_path, FakeTrials(), b"\x7fELF" + bytes(100))
    assert found["type information"].status is Status.PROBLEM
    assert "CONFIG_DEBUG_INFO_BTF" in found["type information"].remedy


def test_a_host_without_ipv6_can_still_record_and_replay(tmp_path: Path) -> None:
    _, found = run(tmp_path, FakeTrials({"ipv6": OSError(99, "Cannot assign requested address")}))
    assert found["IPv6 loopback"].status is Status.WARNING


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (FileNotFoundError(2, "none"), Status.OK, "none yet"),
        (UntrustedError("/var/cache/kebpf is open to others (mode 0755)"), Status.WARNING, "0755"),
        (PermissionError(13, "Permission denied"), Status.WARNING, "Permission denied"),
    ],
)
def test_kept_programs(tmp_path: Path, error: Exception, status: Status, said: str) -> None:
    _, found = run(tmp_path, FakeTrials({"kept": error}), b"")
    assert found["kept programs"].status is status
    assert said in found["kept programs"].found


SUDO = {"SUDO_UID": "1000", "SUDO_GID": "1001"}


@pytest.mark.parametrize(
    ("user", "environment", "ids", "who"),
    [
        (0, {}, None, "root"),
        (0, SUDO, (1000, 1001), "user 1000"),
        (4711, SUDO, None, "user 4711"),
    ],
)
def test_a_test_without_root_is_tried_as_who_would_run_it(
    tmp_path: Path, user: int, environment: dict[str, str], ids: tuple[int, int] | None, who: str
) -> None:
    trials = FakeTrials()
    preflight, found = run(tmp_path, trials, user=user, environment=environment)
    assert trials.ids == ids
    assert found["user namespaces"].found == f"`kebpf test --rootless` works for {who}"
    assert preflight.is_rootless


def test_where_there_can_be_none_another_form_is_named(tmp_path: Path) -> None:
    preflight, found = run(tmp_path, FakeTrials(trial=Trial("there is no room")), user=1000)
    check = found["user namespaces"]
    assert check.status is Status.WARNING
    assert check.found == "no --rootless for user 1000: there is no room"
    assert "`sudo kebpf test`" in check.remedy
    assert not {"nf_tables", "time namespaces"} & set(found)
    assert not preflight.is_rootless
