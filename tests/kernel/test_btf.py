"""Struct offsets against what the C compiler makes of bpftool's header, and damaged blobs."""

from __future__ import annotations

import platform
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.kernel.btf import VMLINUX_BTF, Btf
from kebpf.kernel.errors import KernelError
from kebpf.kernel.offsets import (
    find_group_offsets,
    find_offsets,
    group_offset_flags,
    offset_flags,
)

KERNEL = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
INT, STRUCT, UNION, TYPEDEF, CONST = 1, 4, 5, 8, 10


class Blob:
    """BTF made by hand, from the kernel documentation's layouts."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""

    def name(self, text: str) -> int:
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at if text else 0

    def add(self, kind: int, name: str, size: int, tail: bytes = b"", count: int = 0) -> None:
        self.types += struct.pack("<III", self.name(name), kind << 24 | count, size) + tail

    def members(self, *members: tuple[str, int, int]) -> bytes:
        """Names, types and offsets in bits."""
        return b"".join(
            struct.pack("<III", self.name(name) if name else 0, kind, bits)
            for name, kind, bits in members
        )

    def build(self) -> bytes:
        head = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return head + self.types + self.strings


def make_blob() -> bytes:
    """int (1); struct outer (2) of a, an anonymous union (3) of b and c, and d: const inner."""
    blob = Blob()
    blob.add(INT, "int", 4, struct.pack("<I", 32))
    outer = blob.members(("a", 1, 0), ("", 3, 32), ("d", 5, 64))
    blob.add(STRUCT, "outer", 16, outer, 3)
    blob.add(UNION, "", 4, blob.members(("b", 1, 0), ("c", 1, 0)), 2)
    blob.add(STRUCT, "inner", 8, blob.members(("e", 1, 0), ("f", 1, 32)), 2)
    blob.add(CONST, "", 6)
    blob.add(TYPEDEF, "inner_t", 4)
    return blob.build()


@pytest.mark.parametrize(
    ("path", "offset"), [("a", 0), ("b", 4), ("c", 4), ("d", 8), ("d.e", 8), ("d.f", 12)]
)
def test_members_of_a_blob_made_by_hand(path: str, offset: int) -> None:
    assert Btf(make_blob()).offset("outer", path) == offset


@pytest.mark.parametrize(
    ("struct_name", "path", "said"),
    [
        ("outer", "g", "no member g"),
        ("outer", "d.a", "no member d.a"),
        ("outer", "a.b", "no member a.b"),
        ("missing", "a", "no struct missing"),
        ("inner_t", "e", "no struct inner_t"),
    ],
)
def test_what_is_not_there_is_a_sentence(struct_name: str, path: str, said: str) -> None:
    btf = Btf(make_blob())
    with pytest.raises(KernelError, match=said):
        btf.offset(struct_name, path)
    assert not btf.has(struct_name, path)


def test_names() -> None:
    btf = Btf(make_blob())
    assert btf.has_name("inner_t")
    assert not btf.has_name("inner_")
    assert not btf.has_name("nner_t")


def test_types_that_never_end_are_damage() -> None:
    blob = Blob()
    blob.add(STRUCT, "loop", 8, blob.members(("a", 2, 0)), 1)
    blob.add(TYPEDEF, "again", 2)
    with pytest.raises(KernelError, match="damaged"):
        Btf(blob.build()).offset("loop", "a.b")
    blob = Blob()
    blob.add(STRUCT, "within", 8, blob.members(("", 1, 0)), 1)
    with pytest.raises(KernelError, match="damaged"):
        Btf(blob.build()).offset("within", "a")


@given(st.binary(max_size=300))
def test_garbage_is_a_sentence(tail: bytes) -> None:
    with pytest.raises(KernelError):
        Btf(tail).offset("sock", "a")
    with pytest.raises(KernelError):
        Btf(b"\x9f\xeb" + tail).offset("sock", "a")


@given(st.data())
def test_damage_gives_an_offset_or_a_sentence(data: st.DataObject) -> None:
    blob = bytearray(make_blob())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert Btf(bytes(blob)).offset("outer", "d.f") >= 0
    except KernelError:
        return


def test_a_kernel_without_btf(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="no BTF type information") as raised:
        Btf.load(tmp_path / "vmlinux")
    assert "CONFIG_DEBUG_INFO_BTF" in raised.value.hint


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\0" * 100)
    with pytest.raises(KernelError, match="not BTF"):
        Btf.load(tmp_path / "vmlinux")


PLACES = {
    "SOCK_FAMILY": ("struct sock", "__sk_common.skc_family"),
    "SOCK_FLAGS": ("struct sock", "__sk_common.skc_flags"),
    "SOCK_SHUTDOWN": ("struct sock", "sk_shutdown"),
    "SOCK_TYPE": ("struct sock", "sk_type"),
    "SOCK_PROTOCOL": ("struct sock", "sk_protocol"),
    "SOCK_SOCKET": ("struct sock", "sk_socket"),
    "SOCK_V4_LOCAL": ("struct sock", "__sk_common.skc_rcv_saddr"),
    "SOCK_V4_REMOTE": ("struct sock", "__sk_common.skc_daddr"),
    "SOCK_V6_LOCAL": ("struct sock", "__sk_common.skc_v6_rcv_saddr"),
    "SOCK_V6_REMOTE": ("struct sock", "__sk_common.skc_v6_daddr"),
    "SOCK_LOCAL_PORT": ("struct sock", "__sk_common.skc_num"),
    "SOCK_REMOTE_PORT": ("struct sock", "__sk_common.skc_dport"),
    "TCP_WRITE_SEQ": ("struct tcp_sock", "write_seq"),
    "TCP_COPIED_SEQ": ("struct tcp_sock", "copied_seq"),
    "TCP_RCV_NXT": ("struct tcp_sock", "rcv_nxt"),
    "TCP_SND_UNA": ("struct tcp_sock", "snd_una"),
    "TCP_BYTES_RECEIVED": ("struct tcp_sock", "bytes_received"),
    "TCP_BYTES_ACKED": ("struct tcp_sock", "bytes_acked"),
    "UNIX_ADDRESS": ("struct unix_sock", "addr"),
    "UNIX_PEER": ("struct unix_sock", "peer"),
    "UNIX_ADDRESS_SIZE": ("struct unix_address", "len"),
    "UNIX_ADDRESS_NAME": ("struct unix_address", "name"),
    "TASK_TGID": ("struct task_struct", "tgid"),
    "TASK_PID": ("struct task_struct", "pid"),
    "TASK_SIGNAL": ("struct task_struct", "signal"),
    "TASK_FILES": ("struct task_struct", "files"),
    "SIGNAL_LIVE": ("struct signal_struct", "live"),
    "FILES_FDT": ("struct files_struct", "fdt"),
    "FILES_COUNT": ("struct files_struct", "count"),
    "FDTABLE_FD": ("struct fdtable", "fd"),
    "FDTABLE_MAX": ("struct fdtable", "max_fds"),
    "FILE_INODE": ("struct file", "f_inode"),
    "FILE_FLAGS": ("struct file", "f_flags"),
    "FILE_PRIVATE": ("struct file", "private_data"),
    "INODE_MODE": ("struct inode", "i_mode"),
    "SOCKET_SK": ("struct socket", "sk"),
    "SOCKET_FILE": ("struct socket", "file"),
    "SOCKET_FLAGS": ("struct socket", "flags"),
    "SOCKET_WAITERS": ("struct socket", "wq.wait.head"),
    "WAITER_TASK": ("struct wait_queue_entry", "private"),
    "WAITER_ENTRY": ("struct wait_queue_entry", "entry"),
}
FILE_COUNT = {
    "FILE_COUNT": ("struct file", "f_ref" if KERNEL >= (6, 13) else "f_count"),
}
GROUP_PLACES = {
    "TASK_GROUPS": ("struct task_struct", "cgroups"),
    "GROUPS_DEFAULT": ("struct css_set", "dfl_cgrp"),
    "CGROUP_NODE": ("struct cgroup", "kn"),
    "CGROUP_PARENT": ("struct cgroup", "self.parent"),
    "CGROUP_ROOT": ("struct cgroup", "root"),
    "CSS_CGROUP": ("struct cgroup_subsys_state", "cgroup"),
    "NODE_ID": ("struct kernfs_node", "id"),
    "ROOT_HIERARCHY": ("struct cgroup_root", "hierarchy_id"),
}
SOCKET_INODE = (
    "offsetof(struct socket_alloc, vfs_inode) + offsetof(struct inode, i_ino)"
    " - offsetof(struct socket_alloc, socket)"
)


@pytest.mark.kernel
def test_every_offset_is_what_a_compiler_says(tmp_path: Path) -> None:
    """bpftool writes the kernel's types as C; gcc lays them out."""
    dump = ["bpftool", "btf", "dump", "file", str(VMLINUX_BTF), "format", "c"]
    (tmp_path / "vmlinux.h").write_bytes(
        subprocess.run(dump, check=True, capture_output=True).stdout
    )
    expressions = {
        **{
            name: f"__builtin_offsetof({kind}, {path})"
            for name, (kind, path) in (PLACES | FILE_COUNT | GROUP_PLACES).items()
        },
        "SOCKET_INODE": SOCKET_INODE.replace("offsetof", "__builtin_offsetof"),
    }
    array = ",\n".join(expressions.values())
    (tmp_path / "offsets.c").write_text(
        f'#include "vmlinux.h"\nunsigned long long offsets[] = {{\n{array}\n}};\n'
    )
    compiled = tmp_path / "offsets.o"
    command = ["gcc", "-w", "-c", "-o", str(compiled), str(tmp_path / "offsets.c")]
    subprocess.run(command, check=True)
    raw = tmp_path / "offsets"
    subprocess.run(
        ["objcopy", "-O", "binary", "--only-section=.data", str(compiled), str(raw)], check=True
    )
    numbers = struct.unpack(f"={len(expressions)}Q", raw.read_bytes())
    btf = Btf.load()
    found = {**find_offsets(btf), **find_group_offsets(btf)}
    assert found == dict(zip(expressions, numbers, strict=True))


@pytest.mark.kernel
def test_the_running_kernel_has_what_is_needed() -> None:
    btf = Btf.load()
    assert btf.has_name("btf_trace_sys_exit")
    assert not btf.has_name("btf_trace_no_such_tracepoint")
    features = ("-DKEBPF_HAS_TASK_REGS", "-DKEBPF_FILE_COUNT_BASE")
    assert all(
        flag.startswith("-DOFF_") or flag.partition("=")[0] in features
        for flag in [*offset_flags(btf), *group_offset_flags(btf)]
    )
