"""The responder over TLS with HTTP clients of all kinds, each of which verifies fully."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from kebpf.protocols.base import Document
from kebpf.recording.model import Tls
from kebpf.replay.certificates import Authority
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from kebpf.replay.tlsend import Encryption
from tests.replay.test_responder import REQUEST, FixedRedirect, make_http_mock, serving
from tests.replay.test_streams import ask, connecting, run

SHOP = ("10.0.0.7", 8001)
AUTHORITY = Authority()
ENCRYPTED = replace(make_http_mock(), tls=Tls("localhost", "http/1.1"))
LIMIT_S = 20


def make_context(bundle: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=bundle)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    return context


class AnyAnswers:
    """Answers whatever is asked with one response, and knows nothing else."""

    def __init__(self, response: Document) -> None:
        self._response = response

    def for_destination(self, *_: object) -> AnyAnswers:
        return self

    def facts_for(self, _: object) -> list[Document]:
        return []

    def answer(self, _: Document) -> Document:
        return self._response

    def peek(self, _: Document) -> bool:
        return True

    def session(self, _: Document) -> None:
        return None


def fetch_requests(port: int, bundle: str) -> bytes:
    with requests.Session() as session:
        session.trust_env = False
        url = f"https://localhost:{port}/rates"
        return session.get(url, verify=bundle, timeout=LIMIT_S).content


def fetch_urllib(port: int, bundle: str) -> bytes:
    url = f"https://localhost:{port}/rates"
    with urllib.request.urlopen(url, timeout=LIMIT_S, context=make_context(bundle)) as response:
        return bytes(response.read())


def fetch_httpx(port: int, bundle: str) -> bytes:
    with httpx.Client(verify=make_context(bundle), trust_env=False) as client:
        return client.get(f"https://localhost:{port}/rates").content


def fetch_aiohttp(port: int, bundle: str) -> bytes:
    async def fetch() -> bytes:
        async with aiohttp.ClientSession() as session:
            url = f"https://localhost:{port}/rates"
            async with session.get(url, ssl=make_context(bundle)) as response:
                return await response.read()

    return asyncio.run(fetch())


def fetch_curl(port: int, bundle: str, *options: str) -> bytes:
    words = ["curl", "-sS", "--noproxy", "*", "--cacert", bundle, *options]
    url = f"https://localhost:{port}/rates"
    return subprocess.run([*words, url], capture_output=True, timeout=LIMIT_S, check=True).stdout


def fetch_old_curl(port: int, bundle: str) -> bytes:
    return fetch_curl(port, bundle, "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256")


def fetch_openssl(port: int, bundle: str) -> bytes:
    """Without SNI: the name is known from elsewhere."""
    words = ["openssl", "s_client", "-noservername", "-quiet", "-x509_strict", "-CAfile", bundle]
    words += ["-verify_return_error", "-verify_hostname", "localhost"]
    asked = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    done = subprocess.run(
        [*words, "-connect", f"127.0.0.1:{port}"],
        input=asked,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    return done.stdout[-5:]


def fetch_node(port: int, bundle: str) -> bytes:
    program = (
        f"require('https').get('https://localhost:{port}/rates', {{family: 4}},"
        " r => r.on('data', d => process.stdout.write(d)))"
    )
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": bundle}
    return subprocess.run(
        ["node", "-e", program], capture_output=True, timeout=LIMIT_S, check=True, env=environment
    ).stdout


FETCHES = [fetch_requests, fetch_urllib, fetch_httpx, fetch_aiohttp, fetch_curl, fetch_old_curl,
           fetch_openssl, fetch_node]  # fmt: skip


@pytest.mark.parametrize("fetch", FETCHES)
def test_http_clients_verify_fully(tmp_path: Path, fetch: Callable[[int, str], bytes]) -> None:
    if fetch is fetch_node and shutil.which("node") is None:
        pytest.skip("there is no Node here")
    authority, bundle = Authority(), str(tmp_path / "ca.pem")
    Path(bundle).write_bytes(authority.pem)
    response = ENCRYPTED.response
    assert response is not None
    encryption = Encryption(authority, lambda host: ["localhost"] if host == SHOP[0] else [])

    async def scenario() -> bytes:
        routes = Routes([ENCRYPTED])
        responder = Responder(
            FixedRedirect(SHOP), AnyAnswers(response), routes, encryption=encryption
        )
        try:
            port = (await responder.start()).tcp4
            found = await asyncio.to_thread(fetch, port, bundle)
            assert not responder.take_problems()
            return found
        finally:
            await responder.close()

    assert asyncio.run(scenario()) == b"hello"


# --- what goes wrong ------------------------------------------------------------------------


def put_bundle(folder: Path) -> str:
    path = folder / "ca.pem"
    path.write_bytes(AUTHORITY.pem)
    return str(path)


def trusting_others() -> ssl.SSLContext:
    return ssl.create_default_context()


def test_a_call_that_was_never_recorded_is_read_and_told(tmp_path: Path) -> None:
    def program(port: int) -> bytes:
        with connecting(port, make_context(put_bundle(tmp_path)), "new.example") as client:
            return ask(client)

    found, stand = run(AUTHORITY, [], program)
    assert b"502" in found
    (finding,) = stand.findings()
    assert "GET" in finding.call


def test_a_connection_without_a_call_to_a_new_place_is_told(tmp_path: Path) -> None:
    def program(port: int) -> None:
        with connecting(port, make_context(put_bundle(tmp_path)), "new.example"):
            pass

    _, stand = run(AUTHORITY, [], program)
    assert len(stand.findings()) == 1


def test_a_client_that_trusts_others_is_a_problem() -> None:
    def program(port: int) -> None:
        with pytest.raises(ssl.SSLCertVerificationError), connecting(port, trusting_others()):
            pass

    _, stand = run(AUTHORITY, [ENCRYPTED], program)
    (problem,) = stand.responder.take_problems()
    assert "unknown ca" in problem.text
    assert problem.destination == "10.0.0.7:8001"


def test_without_an_authority_a_handshake_is_bytes_as_any_other() -> None:
    def program(port: int) -> str:
        failures = (ssl.SSLError, ConnectionError, EOFError)
        with pytest.raises(failures) as caught, connecting(port, trusting_others()):
            pass
        return type(caught.value).__name__

    async def scenario() -> None:
        async with serving([ENCRYPTED], SHOP) as stand:
            assert await stand.call(program, stand.ports.tcp4)

    asyncio.run(scenario())
