"""urllib3: pool manager, chunked and streamed bodies, redirects, retries, multipart, ranges.

Forms: ``alone`` makes every request with a pool of its own; ``preloaded`` is how ``plain`` reads
bodies, ``streamed`` reads them piece by piece.
"""

import os

import urllib3
from seen import show, show_changed

BASE = "http://{HTTP_HOST}:{HTTP_PORT}".format(**os.environ)
FIELDS = {"name": "ü", "file": ("f.txt", b"\0binary\xff", "application/octet-stream")}
CALLS = [
    ("GET", "/json", {}),
    ("GET", "/text", {"fields": {"q": "a b"}}),
    ("HEAD", "/json", {}),
    ("POST", "/echo", {"body": b"plain"}),
    ("POST", "/echo", {"fields": FIELDS, "multipart_boundary": "frontier"}),
    ("PUT", "/echo", {"body": iter([b"one", b"two"]), "headers": {"Transfer-Encoding": "chunked"}}),
    ("GET", "/chunked", {}),
    ("GET", "/gzip", {}),
    ("GET", "/gzip", {"decode_content": False}),
    ("GET", "/big", {"headers": {"Range": "bytes=-100"}}),
    ("GET", "/big", {}),
    ("GET", "/redirect/2", {}),
    ("GET", "/redirect/1", {"redirect": False}),
    ("GET", "/cookies", {}),
    ("GET", "/empty", {}),
    ("GET", "/status/500", {}),
    ("GET", "/close", {}),
]


def run(form: str) -> None:
    pool = urllib3.PoolManager(retries=urllib3.Retry(3, redirect=5))
    for method, path, options in CALLS:
        if form == "alone":
            pool = urllib3.PoolManager(retries=urllib3.Retry(3, redirect=5))
        answer = pool.request(
            method, BASE + path, preload_content=form != "streamed", timeout=10.0, **options
        )
        data = (
            b"".join(answer.stream(1000))
            if form == "streamed" and method != "HEAD"
            else answer.data
        )
        show(
            f"{method} {path}",
            answer.status,
            answer.reason,
            data,
            answer.version,
            list(answer.headers.items()),
        )
        answer.release_conn()
    if form == "changed":
        answer = pool.request("POST", BASE + "/echo", body=b"other")
        again = pool.request("GET", BASE + "/json")
        if answer.status >= 500:
            show_changed(urllib3.exceptions.HTTPError(), again.status == 200, answer.status)
