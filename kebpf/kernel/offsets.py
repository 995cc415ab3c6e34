"""The struct offsets the probes need, as compiler flags, from the running kernel's BTF."""

from __future__ import annotations

from kebpf.kernel.btf import Btf

# flag → struct and member; a member that was renamed has its older names behind it
_OFFSETS: dict[str, tuple[tuple[str, str], ...]] = {
    "SOCK_FAMILY": (("sock", "__sk_common.skc_family"),),
    "SOCK_FLAGS": (("sock", "__sk_common.skc_flags"),),
    "SOCK_SHUTDOWN": (("sock", "sk_shutdown"),),
    "SOCK_TYPE": (("sock", "sk_type"),),
    "SOCK_PROTOCOL": (("sock", "sk_protocol"),),
    "SOCK_SOCKET": (("sock", "sk_socket"),),
    "SOCK_V4_LOCAL": (("sock", "__sk_common.skc_rcv_saddr"),),
    "SOCK_V4_REMOTE": (("sock", "__sk_common.skc_daddr"),),
    "SOCK_V6_LOCAL": (("sock", "__sk_common.skc_v6_rcv_saddr"),),
    "SOCK_V6_REMOTE": (("sock", "__sk_common.skc_v6_daddr"),),
    "SOCK_LOCAL_PORT": (("sock", "__sk_common.skc_num"),),
    "SOCK_REMOTE_PORT": (("sock", "__sk_common.skc_dport"),),
    "TCP_WRITE_SEQ": (("tcp_sock", "write_seq"),),
    "TCP_COPIED_SEQ": (("tcp_sock", "copied_seq"),),
    "TCP_RCV_NXT": (("tcp_sock", "rcv_nxt"),),
    "TCP_SND_UNA": (("tcp_sock", "snd_una"),),
    "TCP_BYTES_RECEIVED": (("tcp_sock", "bytes_received"),),
    "TCP_BYTES_ACKED": (("tcp_sock", "bytes_acked"),),
    "UNIX_ADDRESS": (("unix_sock", "addr"),),
    "UNIX_PEER": (("unix_sock", "peer"),),
    "UNIX_ADDRESS_SIZE": (("unix_address", "len"),),
    "UNIX_ADDRESS_NAME": (("unix_address", "name"),),
    "TASK_TGID": (("task_struct", "tgid"),),
    "TASK_PID": (("task_struct", "pid"),),
    "TASK_SIGNAL": (("task_struct", "signal"),),
    "TASK_FILES": (("task_struct", "files"),),
    "SIGNAL_LIVE": (("signal_struct", "live"),),
    "FILES_FDT": (("files_struct", "fdt"),),
    "FILES_COUNT": (("files_struct", "count"),),
    "FDTABLE_FD": (("fdtable", "fd"),),
    "FDTABLE_MAX": (("fdtable", "max_fds"),),
    "FILE_INODE": (("file", "f_inode"),),
    "FILE_FLAGS": (("file", "f_flags"),),
    "FILE_COUNT": (("file", "f_ref"), ("file", "f_count")),
    "FILE_PRIVATE": (("file", "private_data"),),
    "INODE_MODE": (("inode", "i_mode"),),
    "SOCKET_SK": (("socket", "sk"),),
    "SOCKET_FILE": (("socket", "file"),),
    "SOCKET_FLAGS": (("socket", "flags"),),
    "SOCKET_WAITERS": (("socket", "wq.wait.head"),),
    "WAITER_TASK": (("wait_queue_entry", "private"),),
    "WAITER_ENTRY": (("wait_queue_entry", "entry"),),
}

# what following control groups needs besides
_GROUP_OFFSETS: dict[str, tuple[tuple[str, str], ...]] = {
    "TASK_GROUPS": (("task_struct", "cgroups"),),
    "GROUPS_DEFAULT": (("css_set", "dfl_cgrp"),),
    "CGROUP_NODE": (("cgroup", "kn"),),
    "CGROUP_PARENT": (("cgroup", "self.parent"),),
    "CGROUP_ROOT": (("cgroup", "root"),),
    "CSS_CGROUP": (("cgroup_subsys_state", "cgroup"),),
    "NODE_ID": (("kernfs_node", "id"),),
    "ROOT_HIERARCHY": (("cgroup_root", "hierarchy_id"),),
}


def _find(btf: Btf, choices: tuple[tuple[str, str], ...]) -> int:
    for struct_name, path in choices:
        if btf.has(struct_name, path):
            return btf.offset(struct_name, path)
    return btf.offset(*choices[0])


def find_offsets(btf: Btf) -> dict[str, int]:
    """Offsets in bytes by flag name.  Raises `KernelError` naming what this kernel lacks."""
    offsets = {name: _find(btf, choices) for name, choices in _OFFSETS.items()}
    # a socket's inode lies behind it in one allocation (struct socket_alloc, net/socket.c)
    inode = btf.offset("socket_alloc", "vfs_inode") + btf.offset("inode", "i_ino")
    offsets["SOCKET_INODE"] = inode - btf.offset("socket_alloc", "socket")
    return offsets


def find_group_offsets(btf: Btf) -> dict[str, int]:
    """Those of control groups.  Raises `KernelError` naming what this kernel lacks."""
    return {name: _find(btf, choices) for name, choices in _GROUP_OFFSETS.items()}


def offset_flags(btf: Btf) -> list[str]:
    """The offsets as ``-DOFF_…`` flags for the compiler, and what this kernel can do besides."""
    # Linux 5.15 and newer: the registers of a task, as a pointer of known type
    can = ["-DKEBPF_HAS_TASK_REGS"] if btf.has_name("BPF_FUNC_task_pt_regs") else []
    # Linux 6.13 and newer: how often a file is held begins at 0 (include/linux/file_ref.h)
    base = int(btf.has("file", "f_ref"))
    return [*can, f"-DKEBPF_FILE_COUNT_BASE={base}", *_make_flags(find_offsets(btf))]


def group_offset_flags(btf: Btf) -> list[str]:
    """Those of control groups, as flags."""
    return _make_flags(find_group_offsets(btf))


def _make_flags(offsets: dict[str, int]) -> list[str]:
    return [f"-DOFF_{name}={value}" for name, value in offsets.items()]
