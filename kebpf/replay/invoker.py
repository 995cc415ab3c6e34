"""Who the application runs as, and in which environment: under sudo, the user who called sudo."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SUDO_NAMES = frozenset({"sudo", "sudo-rs"})
SUDO_VARIABLES = ("SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND", "SUDO_HOME", "SUDO_TTY")
ANCESTOR_LIMIT = 1000  # a chain longer than this is a broken /proc, not a process tree


class InvokerError(Exception):
    """The application cannot be run as the user asked for; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Invoker:
    """The identity and environment of a process to start.

    ``switches`` is true where the starting process must give up its own identity; ``note`` is a
    sentence on anything that is not as a person would expect, or ``None``.
    """

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    environment: dict[str, str]
    switches: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


def find_invoker(
    user: str | None = None,
    environ: Mapping[str, str] | None = None,
    proc: Path = Path("/proc"),
) -> Invoker:
    """The identity to start an application with.

    ``user`` names another one than sudo's caller; ``environ`` is this process's environment.
    Raises `InvokerError` for an unknown user and for one that this process may not become.
    """
    environ = os.environ if environ is None else environ
    if user is not None:
        return _named_user(user, environ)
    if os.geteuid() == 0 and _number(environ, "SUDO_UID") is not None:
        return _sudo_caller(environ, proc)
    return _current_user(environ)


def _current_user(environ: Mapping[str, str]) -> Invoker:
    account = _account_of(os.geteuid(), os.getegid(), str(os.geteuid()))
    groups = tuple(os.getgroups())
    return Invoker(account.name, account.uid, os.getegid(), groups, dict(environ))


def _named_user(name: str, environ: Mapping[str, str]) -> Invoker:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InvokerError(f"there is no user called {name} on this host") from None
    if entry.pw_uid == os.geteuid():
        return _current_user(environ)
    if os.geteuid() != 0:
        raise InvokerError(f"only root can run the application as {name}")
    account = _Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)
    return _switch_to(account, _as_own(environ, account), None)


def _sudo_caller(environ: Mapping[str, str], proc: Path) -> Invoker:
    uid = _number(environ, "SUDO_UID") or 0
    gid = _number(environ, "SUDO_GID") or 0
    account = _account_of(uid, gid, environ.get("SUDO_USER", str(uid)))
    theirs = read_sudo_environment(proc)
    if theirs is not None:
        return _switch_to(account, theirs, None)
    note = (
        f"the environment of {account.name} could not be read from sudo, so the application "
        "runs with sudo's own (its PATH may lack a virtual environment)"
    )
    return _switch_to(account, _as_own(environ, account), note)


def _switch_to(account: _Account, environment: dict[str, str], note: str | None) -> Invoker:
    groups = tuple(os.getgrouplist(account.name, account.gid))
    switches = account.uid != os.geteuid()
    return Invoker(account.name, account.uid, account.gid, groups, environment, switches, note)


def read_sudo_environment(
    proc: Path = Path("/proc"), start: int | None = None
) -> dict[str, str] | None:
    """The environment that the nearest sudo above ``start`` (this process) was started with.

    That is the environment of the person who typed sudo: the kernel keeps it for the life of the
    process, whatever sudo handed on.  ``None`` where no sudo is found or it cannot be read.
    """
    for pid, name in _walk_ancestors(proc, os.getpid() if start is None else start):
        if name in SUDO_NAMES:
            return _read_environment(proc / str(pid) / "environ")
    return None


def _walk_ancestors(proc: Path, pid: int) -> Iterator[tuple[int, str]]:
    for _ in range(ANCESTOR_LIMIT):
        found = _read_stat(proc / str(pid) / "stat")
        if found is None:
            return
        name, parent = found
        yield pid, name
        if parent == 0:
            return
        pid = parent


def _read_stat(path: Path) -> tuple[str, int] | None:
    """Name and parent of a process; the name may itself hold blanks and brackets (proc(5))."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return (name, int(fields[1])) if len(fields) > 1 else None


def _read_environment(path: Path) -> dict[str, str] | None:
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    pairs = (os.fsdecode(item).partition("=") for item in raw.split(b"\0") if item)
    return {name: value for name, equals, value in pairs if name and equals} or None


def _as_own(environ: Mapping[str, str], account: _Account) -> dict[str, str]:
    environment = {key: value for key, value in environ.items() if key not in SUDO_VARIABLES}
    environment.update(
        HOME=account.home, USER=account.name, LOGNAME=account.name, SHELL=account.shell
    )
    return environment


def _account_of(uid: int, gid: int, name: str) -> _Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container may run users that no passwd entry names
        return _Account(name, uid, gid, "/", "/bin/sh")
    return _Account(entry.pw_name, uid, gid, entry.pw_dir, entry.pw_shell)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None
