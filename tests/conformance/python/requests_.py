"""requests: methods, bodies, redirects, cookies, streaming, ranges, uploads, errors.

Forms: ``alone`` makes every request without a session, so on a connection of its own;
``parallel`` makes those that do not depend on each other in threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from seen import show, show_changed

BASE = "http://{HTTP_HOST}:{HTTP_PORT}".format(**os.environ)
BIG = bytes(range(256)) * 5_000


def parts():
    """The bodies that are sent in more than one piece."""
    yield b"first,"
    yield b"second"


CALLS = [
    ("GET", "/json", {}),
    ("GET", "/text", {"params": {"q": "ü &", "r": ["1", "2"]}}),
    ("GET", "/echo", {"params": [("a", "1"), ("a", "")], "headers": {"X-Custom": "yes"}}),
    ("HEAD", "/big", {}),
    ("POST", "/echo", {"json": {"name": "Zoë", "n": [1, None]}}),
    ("POST", "/echo", {"data": {"form": "a b", "x": "ü"}}),
    ("PUT", "/echo", {"data": BIG}),
    ("POST", "/echo", {"data": parts}),
    ("PATCH", "/echo", {"data": "text"}),
    ("DELETE", "/echo/1", {"auth": ("user", "pass")}),
    ("OPTIONS", "/echo", {}),
    ("GET", "/empty", {}),
    ("GET", "/chunked", {}),
    ("GET", "/gzip", {}),
    ("GET", "/big", {}),
    ("GET", "/big", {"headers": {"Range": "bytes=10-29"}}),
    ("GET", "/big", {"headers": {"If-None-Match": '"big-1"'}}),
    ("GET", "/redirect/3", {}),
    ("GET", "/redirect/1", {"allow_redirects": False}),
    ("GET", "/status/404", {}),
    ("GET", "/status/503", {}),
    ("GET", "/close", {}),
]


def run(form: str) -> None:
    with requests.Session() as session:
        asking = requests if form == "alone" else session
        if form == "parallel":
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda call: ask(session, *call), CALLS))
        else:
            answers = [ask(asking, *call) for call in CALLS]
        for call, answer in zip(CALLS, answers, strict=True):
            tell(call[0], call[1], answer)
        streaming(asking)
        cookies(session)
        if form == "changed":
            with requests.Session() as another:
                changed(another)


def ask(asking, method: str, path: str, options: dict) -> requests.Response:
    made = {name: value() if callable(value) else value for name, value in options.items()}
    return asking.request(method, BASE + path, timeout=10, **made)


def tell(method: str, path: str, answer: requests.Response) -> None:
    body = (
        answer.json()
        if answer.headers.get("Content-Type") == "application/json" and method != "HEAD"
        else answer.content
    )
    show(
        f"{method} {path}",
        answer.status_code,
        answer.reason,
        body,
        answer.encoding,
        [one.status_code for one in answer.history],
    )
    show("headers", dict(answer.headers), answer.url.removeprefix(BASE), answer.ok)


def streaming(asking) -> None:
    with asking.get(BASE + "/big?streamed", stream=True, timeout=10) as answer:
        show("streamed", sum(len(chunk) for chunk in answer.iter_content(65_536)))
    with Path("seen.py").open("rb") as upload:
        answer = asking.post(BASE + "/echo/upload", data=upload, timeout=10)
    show("upload", answer.status_code, answer.json()["size"] > 100)


def cookies(session) -> None:
    show(
        "cookies",
        session.get(BASE + "/cookies").json(),
        session.get(BASE + "/cookies?again").json(),
        session.cookies.get_dict(),
    )


def changed(session) -> None:
    try:
        session.get(
            BASE + "/echo", params={"a": "2"}, headers={"X-Custom": "yes"}
        ).raise_for_status()
    except requests.HTTPError as error:
        show_changed(
            error, session.get(BASE + "/json").json()["name"] == "Zoë", error.response.status_code
        )
