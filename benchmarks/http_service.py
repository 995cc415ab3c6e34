"""A service that only answers, as fast as uvicorn can: an ASGI application without a framework."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

_PRODUCTS = [{"id": number, "name": f"product {number}", "price": 199} for number in range(6)]
BODY = json.dumps({"products": _PRODUCTS}).encode()
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"cache-control", b"no-store"),
    (b"x-service", b"benchmark"),
]


async def service(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answers every request with the same 300 bytes of JSON."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": BODY})
