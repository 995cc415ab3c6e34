"""Secrets that are planted in the shop's traffic are nowhere in what is written, and it replays."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from examples.recorder import start_recorder, stop_recorder
from examples.services import EXAMPLES, Services
from kebpf.recording.store import TestSet
from tests.e2e.conftest import drive_shop, skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, run_kebpf_test, run_shop_test
from tests.e2e.searching import find_in_files, find_secrets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

_TEMPORARY = (Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"))
_SERVERS = ("kebpf-pg-", "kebpf-shop-")  # theirs hold what the servers were sent


def make_card() -> str:
    """A number of Visa's with a valid sum that nobody has used before."""
    digits = "4242" + "".join(str(secrets.randbelow(10)) for _ in range(11))
    total = sum(sum(divmod(int(one) * (2 - index % 2), 10)) for index, one in enumerate(digits))
    return digits + str(-total % 10)


@dataclass(frozen=True)
class Planted:
    """What must be nowhere; ``sent`` are the answers' own: tokens that the shop made."""

    password: str = field(default_factory=lambda: f'Pa&s "wörd" {secrets.token_hex(6)}')
    wrong_password: str = field(default_factory=lambda: f"wrong {secrets.token_hex(5)}")
    email: str = field(default_factory=lambda: f"Jane.{secrets.token_hex(5)}@acme-mail.com")
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    cookie: str = field(default_factory=lambda: secrets.token_hex(20))
    basic: str = field(default_factory=lambda: f"basic-{secrets.token_hex(6)}")
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(30))
    card: str = field(default_factory=make_card)
    github: str = field(default_factory=lambda: "ghp_" + secrets.token_hex(18))
    query: str = field(default_factory=lambda: secrets.token_hex(12))
    sent: list[str] = field(default_factory=list)

    def values(self) -> list[str]:
        named = [value for value in vars(self).values() if isinstance(value, str)]
        return [*named, *self.sent]


class Visitor:
    """Sends requests on a connection of its own; all must be answered as they should be."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=30
        )

    def send(
        self, method: str, path: str, status: int, body: Any = None, **headers: str
    ) -> tuple[Any, str]:
        """The answer's JSON and its cookies."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        sent |= {} if data is None else {"Content-Type": "application/json"}
        self._connection.request(method, path, data, sent)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == status, text
        return json.loads(text or b"null"), " ".join(answer.headers.get_all("Set-Cookie") or [])

    def close(self) -> None:
        self._connection.close()


def visit(base_url: str, planted: Planted) -> int:
    """Signs up, logs in and looks around, with secrets wherever there can be some."""
    visitor = Visitor(base_url)
    customer = {"name": "Jane", "email": planted.email, "password": planted.password}
    extra = {
        "client_secret": planted.client_secret,
        "payment": {"card_number": planted.card, "note": f"use {planted.github} for it"},
        "log": json.dumps({"secret": planted.client_secret}),
    }
    visitor.send("POST", "/customers", 201, customer | extra)
    visitor.send("POST", "/customers", 422, customer | {"password": "short"})
    login = {"email": planted.email, "password": planted.password}
    visitor.send("POST", "/login", 401, login | {"password": planted.wrong_password})
    answer, cookies = visitor.send("POST", "/login", 200, login)
    planted.sent.append(answer["token"])
    planted.sent.extend(re.findall(r"csrf=(\w+)", cookies))
    bearer = {"Authorization": f"Bearer {answer['token']}"}
    visitor.send("GET", "/me", 200, **bearer)
    packed = base64.b64encode(f"1:{answer['token']}".encode()).decode()
    visitor.send("GET", "/products?limit=3", 200, **bearer, X_Context=packed)
    visitor.send("GET", f"/products/7?access_token={planted.query}", 200)
    found = "/products/search?q=" + quote(planted.email, safe="")
    visitor.send("GET", found, 200, **bearer)
    visitor.send("GET", "/products/8", 200, X_Api_Key=planted.api_key)
    session = f"theme=dark; PHPSESSID={planted.cookie}"
    visitor.send("GET", "/products/9", 200, Cookie=session)
    basic = base64.b64encode(f"jane:{planted.basic}".encode()).decode()
    visitor.send("GET", "/me", 401, Authorization=f"Basic {basic}")
    visitor.send("POST", "/logout", 204, **bearer)
    visitor.close()
    return 12


@dataclass(frozen=True)
class Redacted:
    services: Services
    path: Path
    planted: Planted
    summary: Entry
    said: str
    sent: int
    new_files: list[Path]


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redacted]:
    """A recording of the shop; PostgreSQL, Redis and the rates service are stopped by then."""
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("redaction") / "set"
    planted = Planted()
    with Services() as services:
        services.reset()
        before = set(list_temporary())
        shop = services.start_shop()
        recorder = start_recorder(path, "--pid", str(shop.pid))
        try:
            sent = visit(services.shop_url, planted) + drive_shop(services, 1, 2)
        finally:
            summary = stop_recorder(recorder)
            shop.stop()
        new_files = sorted(set(list_temporary()) - before)
        services.stop_backends()
        said = "\n".join(recorder.lines)
        yield Redacted(services, path, planted, summary, said, sent, new_files)


def list_temporary() -> Iterator[Path]:
    """Files that anyone made where files are made in passing, not those of the shop's servers."""
    for folder in _TEMPORARY:
        for parent, folders, names in os.walk(folder):
            folders[:] = [one for one in folders if not one.startswith(_SERVERS)]
            yield from (Path(parent, name) for name in names)


def test_the_search_finds_what_is_hidden() -> None:
    """Or the other tests would say nothing."""
    secret = "Pa&s 0123456789ab"
    for hidden in (
        secret.encode(),
        base64.b64encode(f"x{secret}".encode()),
        secret.encode().hex().encode(),
        gzip.compress(b"..." + secret.encode()),
        b"abc" + base64.b64encode(gzip.compress(secret.encode())),
        quote(secret, safe="").encode(),
    ):
        assert find_secrets(hidden, [secret]) == [secret]
    assert find_secrets(b"nothing to see", [secret]) == []


def test_no_secret_is_in_any_file_or_word(redacted: Redacted) -> None:
    secrets_ = redacted.planted.values()
    assert len(secrets_) == 12
    files = [path for path in redacted.path.rglob("*") if path.is_file()]
    assert len(files) > redacted.sent
    assert find_in_files(redacted.path, secrets_) == {}
    assert find_secrets(redacted.said.encode(), secrets_) == []
    for path in set(redacted.new_files).difference(files):
        assert [one for one in secrets_ if one.encode() in read_if_there(path)] == [], path


def read_if_there(path: Path) -> bytes:
    """What others make in passing may be gone, or be no file."""
    try:
        return path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError:
        return b""


def test_no_secret_is_in_what_the_set_says(redacted: Redacted) -> None:
    """Read as it is at replay: what is compressed or packed in the files is not by then."""
    test_set = TestSet.open(redacted.path)
    said = [repr(case) for case in (*test_set.cases(), *test_set.apart())]
    said += [repr(mock) for _, mock in test_set.iter_mocks()]
    assert find_secrets("\n".join(said).encode(), redacted.planted.values()) == []


def test_what_was_replaced_is_counted(redacted: Redacted) -> None:
    found = redacted.summary["redacted"]
    assert {"password", "token", "key", "card", "e-mail address"} <= found.keys()
    assert redacted.summary["left_out"] == {}
    apart = sum(redacted.summary["set_apart"].values())
    assert redacted.summary["test_cases"] + apart == redacted.sent


def test_credentials_that_nobody_was_asked_about_are_set_apart(redacted: Redacted) -> None:
    """The shop does not look at these, which the recorder cannot know."""
    apart = TestSet.open(redacted.path).apart()
    assert sorted(case.request["target"].partition("?")[0] for case in apart) == [
        "/products/7",
        "/products/8",
        "/products/9",
    ]


def test_it_replays(redacted: Redacted, tmp_path: Path) -> None:
    run = run_shop_test(redacted.services, redacted.path, tmp_path / "events.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    assert len(run.cases) == redacted.summary["test_cases"]
    assert (run.finished["misses"], run.finished["unused_mocks"]) == (0, 0)


def test_a_login_replays_alone(redacted: Redacted, tmp_path: Path) -> None:
    """The hash in the database's answer is the stand-in's own."""
    names = [
        case.name
        for case in TestSet.open(redacted.path).cases()
        if case.request["target"] == "/login"
    ]
    assert len(names) >= 4
    words = ["-c", redacted.services.shop_command, str(redacted.path), "--alone"]
    words += shlex.split(" ".join(f"--case {name}" for name in names))
    services = redacted.services
    run = run_kebpf_test(words, tmp_path / "events", services.shop_environment, EXAMPLES)
    assert (run.status, run.failed) == (0, []), run.explain()
    assert len(run.cases) == len(names)


def test_a_regression_is_found_all_the_same(redacted: Redacted, tmp_path: Path) -> None:
    """The hash of a password in an answer, which is another one in the recording."""
    report = tmp_path / "events.jsonl"
    run = run_shop_test(redacted.services, redacted.path, report, "extra_field")
    assert run.status == 1
    assert any("password_hash" in json.dumps(case) for case in run.failed)
