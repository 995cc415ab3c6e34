"""The protocols kebpf knows, in the order in which they are asked about a connection."""

from __future__ import annotations

from functools import cache

from kebpf.protocols.base import ProtocolSpec


@cache
def load_protocols() -> dict[str, ProtocolSpec]:
    """All protocols by name; ``opaque`` is last and takes whatever the others refuse."""
    from kebpf.protocols.dns import DNS
    from kebpf.protocols.http1 import HTTP1
    from kebpf.protocols.opaque import OPAQUE
    from kebpf.protocols.postgres import POSTGRES
    from kebpf.protocols.redis import REDIS

    specs: tuple[ProtocolSpec, ...] = (HTTP1, POSTGRES, REDIS, DNS, OPAQUE)
    return {spec.name: spec for spec in specs}


def get_protocol(name: str) -> ProtocolSpec:
    """The protocol called ``name``.  Raises ``KeyError``."""
    return load_protocols()[name]
