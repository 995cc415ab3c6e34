"""A client that refuses is named, with what it reads and what to set; clients are real ones."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kebpf.kernel.members import Network
from kebpf.recording.model import Tls
from kebpf.replay.certificates import Authority
from kebpf.replay.tlsend import Encryption
from tests.replay.test_responder import make_http_mock, serving

SHOP = ("10.0.0.7", 8001)
LIMIT_S = 60
AUTHORITY = Authority()
ENCRYPTED = replace(make_http_mock(), tls=Tls("localhost"))
PYTHON = "import ssl,sys,urllib.request as u; u.urlopen(sys.argv[1], cafile=None)"
NODE = "require('https').get(process.argv[1]).on('error', e => process.exit(e ? 1 : 0))"


async def call(words: Sequence[str], is_trusted: bool = True) -> tuple[list[str], list[str]]:
    """The problems, and the sentences on silent clients, after one program's call."""
    encryption = Encryption(AUTHORITY)
    async with serving([ENCRYPTED], SHOP, encryption=encryption) as stand:
        network = Path("/proc/self/ns/net").stat().st_ino
        stand.responder.refusals.group = Network(network)
        stand.responder.refusals.is_trusted = is_trusted
        url = f"https://localhost:{stand.ports.tcp4}/rates"
        done = await asyncio.to_thread(
            subprocess.run, [*words, url], capture_output=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode
        await stand.responder.settle()
        problems = [one.text for one in stand.responder.take_problems()]
        return problems, stand.responder.refusals.list_silent()


def test_python_is_named_with_its_stores() -> None:
    problems, silent = asyncio.run(call([sys.executable, "-W", "ignore", "-c", PYTHON]))
    (problem,) = problems
    assert problem.startswith("python")
    assert "libssl" in problem
    assert "for localhost (unknown ca)" in problem
    assert "REQUESTS_CA_BUNDLE" in problem
    assert "--trust FILE" in problem
    assert not silent


def test_curl_is_named_as_what_it_is_linked_with() -> None:
    problems, _ = asyncio.run(
        call(["curl", "-sS", "--cacert", "/etc/ssl/certs/ca-certificates.crt"])
    )
    (problem,) = problems
    assert problem.startswith("curl (pid ")
    assert "SSL_CERT_FILE" in problem or "system's bundle" in problem


def test_node_which_says_nothing_is_named_all_the_same() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    problems, silent = asyncio.run(call(["node", "-e", NODE]))
    told = problems + silent
    assert len(told) == 1
    assert told[0].startswith("node (pid ")
    assert "NODE_EXTRA_CA_CERTS" in told[0]


def test_where_the_recording_had_no_tls_that_is_said() -> None:
    problems, _ = asyncio.run(call([sys.executable, "-W", "ignore", "-c", PYTHON], False))
    assert "the recording has no call over TLS" in problems[0]


def test_a_client_that_took_the_certificate_once_is_not_doubted(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(AUTHORITY.pem)

    async def scenario() -> list[str]:
        encryption = Encryption(AUTHORITY)
        async with serving([ENCRYPTED], SHOP, encryption=encryption) as stand:
            place = f"localhost:{stand.ports.tcp4}"
            connect = ["openssl", "s_client", "-connect", place, "-CAfile", str(bundle)]
            fetch = ["curl", "-sS", "--cacert", str(bundle), f"https://{place}/"]
            for words in (connect, fetch):
                await asyncio.to_thread(
                    subprocess.run,
                    words,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=LIMIT_S,
                    check=False,
                )
                await stand.responder.settle()
                if words is connect:
                    assert len(stand.responder.refusals.list_silent()) == 1
            return stand.responder.refusals.list_silent()

    assert asyncio.run(scenario()) == []
