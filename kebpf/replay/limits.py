"""How many connections this process may hold, without what it starts noticing that it is more."""

from __future__ import annotations

import resource

_given: tuple[int, int] | None = None  # this process's own limits, once they were raised


def raise_open_files() -> None:
    """Lets this process hold as many descriptors as it may be given; a connection is one."""
    global _given
    if _given is None:
        _given = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_given[1], _given[1]))


def get_given_files() -> int | None:
    """The limit that a child is to have in place of the raised one; ``None``: the one it has."""
    return None if _given is None else _given[0]
