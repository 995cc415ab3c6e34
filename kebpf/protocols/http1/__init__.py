"""HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112), both sides."""

from __future__ import annotations

from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.http1.curl import curl_line
from kebpf.protocols.http1.spec import Http1

HTTP1: ProtocolSpec = Http1()

__all__ = ["HTTP1", "Http1", "curl_line"]
