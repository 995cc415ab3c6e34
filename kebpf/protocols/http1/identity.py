"""Says in which parts two outgoing HTTP calls must agree to be the same call.

Of the headers all count but those that say how the message travels, who sends it, or which trace
it belongs to: leaving out a list of known carriers is safer than keeping a list of known
meanings, since services invent header names (``api-key``, ``idempotency-key``, ``stripe-version``)
and an unknown one that differs must not pass in silence.
"""

from __future__ import annotations

import re

from kebpf.protocols.base import Document
from kebpf.protocols.http1.content import decode_body
from kebpf.protocols.http1.view import decode_query, lower_headers, split_target

_IGNORED = re.compile(
    # how the message travels (RFC 9110 section 7.6.1); host is in "authority"
    r"host|connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"
    r"|content-length|expect|date|via|max-forwards|http2-settings"
    # who sends it
    r"|user-agent|forwarded|x-forwarded-.*|x-real-ip|x-amz-user-agent|sec-ch-ua.*"
    # trace and attempt ids
    r"|traceparent|tracestate|baggage|b3|x-b3-.*|x-request-id|request-id|x-correlation-id"
    r"|correlation-id|x-trace-id|x-span-id|x-amzn-trace-id|x-amzn-requestid|x-cloud-trace-context"
    r"|uber-trace-id|uberctx-.*|sentry-trace|x-datadog-.*|elastic-apm-traceparent|newrelic"
    r"|x-newrelic-.*|x-ot-span-context|x-instana-.*|x-client-trace-id|grpc-trace-bin"
    r"|amz-sdk-invocation-id|amz-sdk-request|x-envoy-.*"
)


def identify(request: Document) -> Document:
    """See `kebpf.protocols.base.ProtocolSpec.identity`.

    The query is an ordered multiset: sorted by name, the order within a name kept.  Headers are
    sorted by name likewise.
    """
    authority, path, query = split_target(request)
    kind, body = decode_body(request["headers"], request["body"])
    return {
        "operation": f"{request['method']} {path}".rstrip(),
        "method": request["method"],
        "authority": authority.lower(),
        "path": path,
        "query": sorted(decode_query(query), key=_get_name),
        "headers": sorted(_select_headers(request), key=_get_name),
        "body_kind": kind,
        "body": body,
    }


def _get_name(pair: list[str | None] | list[str]) -> str:
    return pair[0] or ""


def _select_headers(request: Document) -> list[list[str]]:
    return [pair for pair in lower_headers(request["headers"]) if not is_about_transport(pair[0])]


def is_about_transport(name: str) -> bool:
    """Whether a header, in lower case, says how a message travels, who sends it or its trace."""
    return _IGNORED.fullmatch(name) is not None
