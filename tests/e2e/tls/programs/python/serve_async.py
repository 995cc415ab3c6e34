"""The same under uvicorn, with a caller of coroutines named in CALLER."""

import importlib
import os

from bodies import read_body

BUG = os.environ.get("TLS_BUG", "")
caller = importlib.import_module(os.environ["CALLER"])


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    note = await read_body(receive)
    text = "fine" if scope["method"] == "GET" else await ask(scope["path"], note.decode())
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def ask(path, note):
    number = int(path.rpartition("/")[2])
    if BUG != "drop":
        await caller.keep(number, note + ("!" if BUG == "argument" else ""))
    answer = await caller.recall(number)
    return f"{number}{'0' if BUG == 'field' else ''} {answer}"


async def live(receive, send):
    await receive()
    if hasattr(caller, "open"):
        await caller.open()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
