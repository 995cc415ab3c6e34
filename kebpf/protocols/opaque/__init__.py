"""Connections whose protocol is not known: recorded by turns, replayed byte for byte."""

from __future__ import annotations

from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.opaque.spec import Opaque

OPAQUE: ProtocolSpec = Opaque()

__all__ = ["OPAQUE", "Opaque"]
