"""Answers with the note reversed; calls nobody: what is encrypted is what it serves."""

import os

from bodies import read_body

BUG = os.environ.get("TLS_BUG", "")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    note = (await read_body(receive)).decode()
    number = scope["path"].rpartition("/")[2] + ("0" if BUG == "field" else "")
    text = f"{number} {note[::-1]}" if scope["method"] == "POST" else "fine"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
