"""PostgreSQL's frontend/backend protocol, version 3 (chapter 55 of its documentation)."""

from kebpf.protocols.postgres.spec import POSTGRES

__all__ = ["POSTGRES"]
