"""aiohttp: methods, chunked and multipart bodies, Expect, streams, redirects, cookies.

Forms: ``alone`` has a connection a request; ``concurrent`` makes all requests at the same time.
"""

import asyncio
import os

import aiohttp
from seen import show, show_changed

BASE = "http://{HTTP_HOST}:{HTTP_PORT}".format(**os.environ)


async def pieces():
    yield b"one,"
    yield b"two"


CALLS = [
    ("GET", "/json", {}),
    ("GET", "/text", {"params": {"q": "ü"}}),
    ("HEAD", "/json", {}),
    ("POST", "/echo", {"json": {"a": "ü"}}),
    ("POST", "/echo", {"data": {"b": "c d"}}),
    ("POST", "/echo", {"data": pieces}),
    ("POST", "/echo", {"data": b"expected", "expect100": True}),
    ("PUT", "/echo", {"data": b"z" * 1_200_000}),
    ("DELETE", "/echo", {"headers": {"X-Custom": "v"}}),
    ("GET", "/chunked", {}),
    ("GET", "/gzip", {}),
    ("GET", "/big", {"headers": {"Range": "bytes=5-14"}}),
    ("GET", "/big", {}),
    ("GET", "/redirect/2", {}),
    ("GET", "/redirect/1", {"allow_redirects": False}),
    ("GET", "/empty", {}),
    ("GET", "/status/404", {}),
    ("GET", "/close", {}),
]


def run(form: str) -> None:
    asyncio.run(run_all(form))


async def run_all(form: str) -> None:
    connector = aiohttp.TCPConnector(force_close=form == "alone")
    async with aiohttp.ClientSession(BASE, connector=connector) as session:
        if form == "concurrent":
            answers = await asyncio.gather(*(ask(session, *call) for call in CALLS))
        else:
            answers = [await ask(session, *call) for call in CALLS]
        for (method, path, _), answer in zip(CALLS, answers, strict=True):
            show(f"{method} {path}", *answer)
        async with session.get("/big?streamed") as answer:
            size = 0
            async for chunk in answer.content.iter_chunked(10_000):
                size += len(chunk)
            show("streamed", size)
    async with aiohttp.ClientSession(BASE, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get("/cookies") as answer:
            show("cookies", await answer.json())
        async with session.get("/cookies?again") as answer:
            show("cookies", await answer.json(), len(session.cookie_jar))
    if form == "changed":
        async with aiohttp.ClientSession(BASE) as session:
            await changed(session)


async def ask(session, method: str, path: str, options: dict):
    made = {name: value() if callable(value) else value for name, value in options.items()}
    async with session.request(method, path, **made) as answer:
        headers = [(name, value) for name, value in answer.headers.items()]
        return answer.status, answer.reason, await answer.read(), headers, len(answer.history)


async def changed(session) -> None:
    try:
        async with session.post("/echo", json={"a": "other"}, raise_for_status=True):
            pass
    except aiohttp.ClientResponseError as error:
        async with session.get("/json") as answer:
            show_changed(error, (await answer.json())["name"] == "Zoë", error.status)
