"""httpx, blocking and asynchronous over HTTP/1.1: methods, bodies, streams, redirects, uploads.

Forms: ``async`` makes the same calls with the asynchronous client; ``concurrent`` makes those at
the same time; ``alone`` takes a new client for each.
"""

import asyncio
import os

import httpx
from seen import show, show_changed

BASE = "http://{HTTP_HOST}:{HTTP_PORT}".format(**os.environ)
CALLS = [
    ("GET", "/json", {}),
    ("GET", "/text", {"params": {"q": "ü"}}),
    ("HEAD", "/text", {}),
    ("POST", "/echo", {"json": {"a": "ü"}}),
    ("POST", "/echo", {"data": {"b": "c d"}}),
    ("PUT", "/echo", {"content": b"x" * 1_200_000}),
    ("PATCH", "/echo", {"content": b"p", "headers": {"X-Custom": "1"}}),
    ("DELETE", "/echo", {}),
    ("OPTIONS", "/echo", {}),
    ("GET", "/chunked", {}),
    ("GET", "/gzip", {}),
    ("GET", "/big", {"headers": {"Range": "bytes=0-9"}}),
    ("GET", "/big", {}),
    ("GET", "/redirect/2", {"follow_redirects": True}),
    ("GET", "/redirect/1", {}),
    ("GET", "/empty", {}),
    ("GET", "/status/418", {}),
    ("GET", "/close", {}),
]


def run(form: str) -> None:
    if form in ("async", "concurrent"):
        answers = asyncio.run(ask_all(form))
    elif form == "alone":
        answers = [httpx.request(method, BASE + path, **options) for method, path, options in CALLS]
    else:
        with httpx.Client(base_url=BASE) as client:
            answers = [client.request(method, path, **options) for method, path, options in CALLS]
    for (method, path, _), answer in zip(CALLS, answers, strict=True):
        show(
            f"{method} {path}",
            answer.status_code,
            answer.reason_phrase,
            answer.content,
            answer.http_version,
            answer.headers.multi_items(),
        )
        show(
            "history",
            [one.status_code for one in answer.history],
            answer.encoding if answer.content else None,
        )
    with httpx.Client(base_url=BASE) as client:
        with client.stream("GET", "/big?streamed") as answer:
            show("streamed", sum(len(part) for part in answer.iter_bytes()))
        client.get("/cookies")
        show("cookies", client.get("/cookies?again").json(), dict(client.cookies))
    if form == "changed":
        with httpx.Client(base_url=BASE) as client:
            changed(client)


async def ask_all(form: str):
    async with httpx.AsyncClient(base_url=BASE) as client:
        calls = [client.request(method, path, **options) for method, path, options in CALLS]
        return (
            await asyncio.gather(*calls) if form == "concurrent" else [await one for one in calls]
        )


def changed(client: httpx.Client) -> None:
    try:
        client.post("/echo", json={"a": "other"}).raise_for_status()
    except httpx.HTTPStatusError as error:
        show_changed(error, client.get("/json").json()["name"] == "Zoë", error.response.status_code)
