"""Programs that verify fully pass, unchanged, in every form of a run; the host stays as it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from examples.processes import find_free_port
from kebpf.protocols.base import Mark, Sender
from kebpf.protocols.registry import get_protocol
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.model import Endpoint, RecordedExchange, Role, Tls
from kebpf.recording.store import TestSetWriter
from kebpf.replay.certificates import Authority
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import TestRun, run_kebpf_test
from tests.e2e.ordinary import find_ordinary_user, give, open_folder
from tests.kernel.rootless_runs import skip_unless_reachable

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

SECOND_NS = 1_000_000_000
PEER = Endpoint("tcp", "127.0.0.1", 50_000)
WAYS = ["openssl", "strictly", "certifi", "file", "curl"] + ["node"] * bool(shutil.which("node"))
STORES = [Path("/etc/ssl/certs"), Path("/etc/pki/tls/certs"), Path("/etc/ssl/cert.pem")]
TLS = Tls("localhost", "http/1.1")
VARIABLES = ("CA", "CERT", "SSL", "TLS")


@dataclass(frozen=True)
class Stand:
    """The target's folder and a test set that was never recorded: how its calls look is known."""

    folder: Path
    port: int
    dependency: int

    def make_set(self, *ways: str, tls: Tls | None = TLS) -> Path:
        path = self.folder / "sets" / "-".join(ways)
        builder = RecordingBuilder(TestSetWriter(path, None), path.name)
        for number, way in enumerate(ways, 1):
            began = 1_790_000_000 * SECOND_NS + number * 10 * SECOND_NS
            call = self._make_call(way, began + SECOND_NS)
            builder.add(replace(call, connection=100 + number, tls=tls))
            asked = f"GET /{way} HTTP/1.1\r\nHost: app\r\n\r\n"
            place = Endpoint("tcp", "127.0.0.1", self.port)
            builder.add(make_exchange(asked, Role.SERVER, number, place, PEER, began, 4))
        builder.finish(created_ns=1, kebpf_version="0", command=[], ports=[self.port])
        return path

    def _make_call(self, way: str, began: int) -> RecordedExchange:
        headers = f"Host: localhost:{self.dependency}\r\nAccept: */*\r\nAccept-Encoding: identity"
        asked = f"GET /rates HTTP/1.1\r\n{headers}\r\n\r\n"
        place = Endpoint("tcp", "127.0.0.1", self.dependency)
        return make_exchange(asked, Role.CLIENT, 1, PEER, place, began, 1)

    def test(
        self, test_set: Path, *options: str, user: str | None = None, **environment: str
    ) -> TestRun:
        url = f"https://localhost:{self.dependency}/rates"
        command = f"{sys.executable} {self.folder}/target.py {self.port} {url}"
        words = [*options, str(test_set), "-c", command]
        report = self.folder / "report" / test_set.name
        return run_kebpf_test(words, report, {**os.environ, **environment}, self.folder, user=user)


def make_exchange(
    asked: str, role: Role, number: int, local: Endpoint, remote: Endpoint, began: int, seconds: int
) -> RecordedExchange:
    pairer = get_protocol("http").make_pairer()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    pairer.receive_data(Sender.CLIENT, asked.encode(), Mark(began, 7))
    end = Mark(began + seconds * SECOND_NS, 7)
    (exchange,) = pairer.receive_data(Sender.SERVER, answer, end)
    return RecordedExchange(exchange, role, number, local, remote, 1)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """In an environment that names no store of its own."""
    for name in list(os.environ):
        if any(word in name.split("_") for word in VARIABLES):
            monkeypatch.delenv(name)
    with open_folder("kebpf-tls-") as folder:
        shutil.copy(Path(__file__).with_name("tls_calls_target.py"), folder / "target.py")
        (folder / "company-ca.crt").write_bytes(Authority().pem)
        (folder / "sets").mkdir()
        (folder / "report").mkdir()
        yield Stand(folder, find_free_port(), find_free_port())


def fingerprint_host() -> dict[str, str]:
    """All stores of this host, as others see them."""
    import certifi

    files = [one for path in STORES for one in (path.rglob("*") if path.is_dir() else [path])]
    known = [one for one in (*files, Path(certifi.where())) if one.is_file()]
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in known}


@pytest.mark.parametrize("form", ["plain", "--jobs", "--rootless"])  # the second is isolated
def test_every_runtime_trusts_the_run_and_the_host_does_not(stand: Stand, form: str) -> None:
    skip_unless_root()
    before = fingerprint_host(), dict(os.environ)
    path = stand.make_set(*WAYS)
    options = {"plain": [], "--jobs": ["--jobs", "2"]}.get(form, [form])
    user = None
    if form == "--rootless":
        skip_unless_reachable()
        user = find_ordinary_user()
        give(stand.folder, user)
    run = stand.test(path, *options, user=user)
    assert run.status == 0, run.output
    assert len(run.cases) == len(WAYS)
    assert (fingerprint_host(), dict(os.environ)) == before


def test_a_store_that_cannot_be_known_is_asked_for_and_taken(stand: Stand) -> None:
    skip_unless_root()
    with open_folder("kebpf-hidden-") as elsewhere:
        hidden = elsewhere / "authorities"
        hidden.write_bytes(Authority().pem)
        path = stand.make_set("hidden")
        run = stand.test(path, HIDDEN=str(hidden)[::-1])
        assert run.status == 1, run.output
        assert "--trust" in run.output
        run = stand.test(path, "--trust", str(hidden), HIDDEN=str(hidden)[::-1])
        assert run.status == 0, run.output


def test_a_call_in_plain_text_that_was_encrypted_does_not_pass(stand: Stand) -> None:
    skip_unless_root()
    path = stand.make_set("openssl", tls=None)
    run = stand.test(path, "--trust", str(stand.folder / "company-ca.crt"))
    assert run.status == 1
    assert "connect over TLS" in run.output
