"""Answers with the note reversed; calls nobody: what is encrypted is what it serves."""

import os

BUG = os.environ.get("TLS_BUG", "")


def app(environ, start_response):
    note = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    number = environ["PATH_INFO"].rpartition("/")[2] + ("0" if BUG == "field" else "")
    body = (f"{number} {note[::-1]}" if note else "fine").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
